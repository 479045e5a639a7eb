-- plan.lua - how a model is split over those that cannot hold it whole.
--   p:<m>  hash  path: packed list of boundaries

-- The boundaries that new sequences of m run over, or nil.
function plan.path(x, m)
  local path = R('HGET', x.P .. 'p:' .. m, 'path')
  return path and cmsgpack.unpack(path)
end

-- plan_path: ARGV 1 model (16 bytes) 2 its boundaries, packed u16
local function set_path(keys, args)
  local x, path = base.open(keys), {}
  for i = 1, #args[2], 2 do
    table.insert(path, (struct.unpack('<I2', args[2], i)))
  end
  R('HSET', x.P .. 'p:' .. base.hex(args[1]), 'path', cmsgpack.pack(path))
  x.wake = true
  base.close(x)
  return 'ok'
end

redis.register_function('@V@_plan_path', set_path)
