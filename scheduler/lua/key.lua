-- key.lua - API keys. A key's hash: name, hint, t created, rev revoked (0: no),
-- h SHA-256 of the key, stored: bytes that it has stored.

-- key_create: ARGV 1 id 2 hash 3 name 4 hint. Returns "ok" or "exists".
local function create(keys, args)
  local x = base.open(keys)
  local key = x.P .. 'k:' .. args[1]
  local known = R('HGET', x.P .. 'kh', args[2])
  if known or R('ZSCORE', x.P .. 'keys', args[1]) then return 'exists' end
  R('HSET', key, 'name', args[3], 'hint', args[4], 't', x.now, 'rev', 0, 'h',
    args[2])
  R('HSETNX', key, 'stored', 0)
  R('HSET', x.P .. 'kh', args[2], args[1])
  R('ZADD', x.P .. 'keys', x.now, args[1])
  return 'ok'
end

local function show(x, id)
  local k = base.load(x.P .. 'k:' .. id, 'name', 'hint', 't', 'rev', 'stored')
  return {id, k.name, k.hint, k.t, k.rev, k.stored or '0'}
end

-- key_find: ARGV 1 hash. Returns a key or nil.
local function find(keys, args)
  local x = base.open(keys)
  local id = R('HGET', x.P .. 'kh', args[1])
  return id and show(x, id) or nil
end

-- key_list: returns all keys.
local function list(keys)
  local x, out = base.open(keys), {}
  for _, id in ipairs(R('ZRANGE', x.P .. 'keys', 0, -1)) do
    table.insert(out, show(x, id))
  end
  return out
end

-- key_revoke: ARGV 1 id. Returns "ok" or "none".
local function revoke(keys, args)
  local x = base.open(keys)
  local key = x.P .. 'k:' .. args[1]
  local k = base.load(key, 'rev', 'h')
  if not k.h then return 'none' end
  if k.rev == '0' then
    R('HSET', key, 'rev', x.now)
    R('HDEL', x.P .. 'kh', k.h)
  end
  return 'ok'
end

redis.register_function('@V@_key_create', create)
redis.register_function('@V@_key_find', find)
redis.register_function('@V@_key_list', list)
redis.register_function('@V@_key_revoke', revoke)
