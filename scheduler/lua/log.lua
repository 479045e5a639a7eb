-- log.lua - the activation log: for every sequence on a path, the rows that
-- crossed each boundary of it, in wire form, until the sequence is final. A
-- stage that is lost is rebuilt from it, and checks are computed from it.
--   s:<n>:l<b>  string  the rows at boundary b, one after another
--   In g: log  bytes reserved by all sequences, at most policy.log_bytes

function log.key(x, sid, b) return sequence.key(x, sid) .. ':l' .. b end

-- Bytes of a row of a model with that width.
function log.row_len(d) return d + math.ceil(d / 32) end

-- The bytes of n rows at so many boundaries, if the whole budget is less; else nil.
function log.never(p, n, boundaries, row_len)
  local bytes = n * boundaries * row_len
  return bytes > p.log_bytes and bytes or nil
end

-- Reserve what n rows at so many boundaries take. Returns the bytes; nil if
-- the budget does not allow it now.
function log.reserve(x, p, n, boundaries, row_len)
  local bytes = n * boundaries * row_len
  local used = tonumber(R('HGET', x.P .. 'g', 'log')) or 0
  if used + bytes > p.log_bytes then return nil end
  base.count(x, 'log', bytes)
  return bytes
end

function log.append(x, sid, b, rows)
  R('APPEND', log.key(x, sid, b), rows)
end

function log.read(x, sid, b, first, n, row_len)
  return R('GETRANGE', log.key(x, sid, b), first * row_len,
           (first + n) * row_len - 1)
end

-- Keep the first n rows at boundary b.
function log.cut(x, sid, b, n, row_len)
  if n == 0 then
    R('DEL', log.key(x, sid, b))
  else
    R('SET', log.key(x, sid, b), log.read(x, sid, b, 0, n, row_len))
  end
end

-- The log of a sequence goes; bytes is what it had reserved.
function log.drop(x, sid, path, bytes)
  for _, b in ipairs(path) do R('DEL', log.key(x, sid, b)) end
  base.count(x, 'log', -bytes)
end
