-- file.lua - files of clients: what they upload, and what their batches give.
-- A file's hash: key (its owner), path (its name in --files), name (the
-- client's), purpose, bytes, lines, t (created), exp (when it goes).
-- Its bytes count as stored by its key. Whoever removes the bytes forgets the
-- record afterwards, so that a crash leaves nothing without a record.

local function file_key(x, id) return x.P .. 'f:' .. id end

-- Keep a record; a repeat changes nothing. f: the fields, and id; hidden: it is
-- in no list.
function file.put(x, p, f)
  local key, owner = file_key(x, f.id), x.P .. 'k:' .. f.key
  if R('EXISTS', key) == 1 then return end
  local exp = x.now + (tonumber(f.ttl) or p.keep_ms)
  R('HSET', key, 'key', f.key, 'path', f.path, 'name', f.name, 'purpose',
    f.purpose, 'bytes', f.bytes, 'lines', f.lines, 't', x.now, 'exp',
    string.format('%.0f', exp))
  R('HINCRBY', owner, 'stored', f.bytes)
  if not f.hidden then R('ZADD', owner .. ':f', x.now, f.id) end
  R('ZADD', x.P .. 'fexp', exp, f.id)
end

-- file_create: ARGV 1 id 2 key 3 path 4 name 5 purpose 6 bytes 7 lines 8 ms
--   that it is kept, "" for the usual 9 cap on the key's stored bytes, 0: none
--   10 policy
-- Returns "ok" (also for a repeat) or "full".
local function create(keys, args)
  local x, p = base.open(keys), base.policy(args[10])
  if R('EXISTS', file_key(x, args[1])) == 1 then return 'ok' end
  if quota.full(x, args[2], 0, tonumber(args[6]), tonumber(args[9])) then
    return 'full'
  end
  file.put(x, p, {id = args[1], key = args[2], path = args[3], name = args[4],
                  purpose = args[5], bytes = args[6], lines = args[7],
                  ttl = args[8]})
  return 'ok'
end

-- A file as a list; nil when it is not there, not key's, or its time is up.
local function show(x, id, owner)
  local f = base.load(file_key(x, id), 'key', 'path', 'name', 'purpose',
                      'bytes', 'lines', 't', 'exp')
  if not f.key or f.key ~= owner or tonumber(f.exp) <= x.now then return nil end
  return {id, f.path, f.name, f.purpose, f.bytes, f.lines, f.t, f.exp}
end

-- file_get: ARGV 1 id 2 key. Returns a file or nil.
local function get(keys, args)
  return show(base.open(keys), args[1], args[2])
end

-- file_list: ARGV 1 key 2 after or "" 3 limit 4 purpose or "" 5 "1": oldest
--   first. Returns {1 if there are more, files...}; nil when after is unknown.
local function list(keys, args)
  local x = base.open(keys)
  local index, old = x.P .. 'k:' .. args[1] .. ':f', args[5] == '1'
  local at, limit, out = 0, tonumber(args[3]), {0}
  if args[2] ~= '' then
    at = R(old and 'ZRANK' or 'ZREVRANK', index, args[2])
    if not at then return nil end
    at = at + 1
  end
  while true do
    local id = R(old and 'ZRANGE' or 'ZREVRANGE', index, at, at)[1]
    if not id then return out end
    local f = show(x, id, args[1])
    if f and (args[4] == '' or f[4] == args[4]) then
      if #out > limit then
        out[1] = 1
        return out
      end
      table.insert(out, f)
    end
    at = at + 1
  end
end

-- file_delete: ARGV 1 id 2 key or "" for any. Its bytes are gone.
-- Returns "ok" or "none".
local function delete(keys, args)
  local x = base.open(keys)
  local key = file_key(x, args[1])
  local f = base.load(key, 'key', 'bytes')
  if not f.key or args[2] ~= '' and f.key ~= args[2] then return 'none' end
  local owner = x.P .. 'k:' .. f.key
  if R('HINCRBY', owner, 'stored', -f.bytes) <= 0 and
     R('HLEN', owner) == 1 then
    R('DEL', owner) -- there is no such key any more
  end
  R('ZREM', owner .. ':f', args[1])
  R('ZREM', x.P .. 'fexp', args[1])
  R('DEL', key)
  return 'ok'
end

-- file_expired: ARGV 1 limit. Returns {id, path, ...} of files to be removed.
local function expired(keys, args)
  local x, out = base.open(keys), {}
  local ids = R('ZRANGE', x.P .. 'fexp', '-inf', x.now, 'BYSCORE', 'LIMIT', 0,
                args[1])
  for _, id in ipairs(ids) do
    table.insert(out, id)
    table.insert(out, R('HGET', file_key(x, id), 'path') or '')
  end
  return out
end

redis.register_function('@V@_file_create', create)
redis.register_function('@V@_file_get', get)
redis.register_function('@V@_file_list', list)
redis.register_function('@V@_file_delete', delete)
redis.register_function('@V@_file_expired', expired)
