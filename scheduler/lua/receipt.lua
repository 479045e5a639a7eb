-- receipt.lua - what a final line's receipt needs beside its result, and the
-- key of this grid that signs it.
--   sign  string  the key's 32 secret bytes; made once

-- For the record of a final line (batch_read.c reads it): prompt, sampling,
-- biases, stop ids, then who checked it (bits: referee, a stage, whose boundaries
-- follow). "" if its batch wants no receipts.
-- s has b, p, sm, bi, sp; checkers: as in sequence.final.
function receipt.record(x, s, checkers)
  if R('HGET', batch.key(x, s.b), 'rc') ~= '1' then return '' end
  local out = base.str(s.p) .. base.str(s.sm) .. base.str(s.bi) ..
    base.str(s.sp) .. struct.pack('<I1', #checkers)
  for _, c in ipairs(checkers) do
    out = out .. struct.pack('<I1', (c[5] and 1 or 0) + (c[6] and 2 or 0)) ..
      base.str(c[3]) .. base.str(c[4])
    if c[6] then out = out .. struct.pack('<I2I2', c[6], c[7]) end
  end
  return out
end

-- signing_key: ARGV 1 fresh secret, 32 bytes. Returns the grid's.
local function signing_key(keys, args)
  local x = base.open(keys)
  R('SETNX', x.P .. 'sign', args[1])
  return R('GET', x.P .. 'sign')
end

redis.register_function('@V@_signing_key', signing_key)
