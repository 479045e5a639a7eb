-- key.lua - API keys. A key's hash: name, hint, t created, rev revoked (0: no),
-- h SHA-256 of the key, stored: bytes that it has stored; sc scopes (the bits of
-- enum sched_scope), prio priority (fair.lua), q_req, q_bytes, q_tok its quotas
-- (0: none). What is not there is as it was before there were scopes: all
-- scopes, no quotas.
-- k:<id>:u is what it uses, besides: open requests that are not final yet, day,
-- tok tokens of that day (UTC; days since 1970). It goes when it is all zero.
local DAY_S = 86400
local ALL_SCOPES, PRIORITY = 7, 10

local function usage(x, id) return x.P .. 'k:' .. id .. ':u' end

-- So many requests more (or fewer) are accepted and not final.
function quota.open(x, id, n)
  local key = usage(x, id)
  if n == 0 then return end
  if R('HINCRBY', key, 'open', n) > 0 then
    R('PERSIST', key)
  else
    R('EXPIRE', key, 2 * DAY_S)
  end
end

-- Tokens of prompt and answer that count for today.
function quota.spend(x, id, tokens)
  local key, day = usage(x, id), math.floor(x.sec / DAY_S)
  if tonumber(R('HGET', key, 'day')) ~= day then
    R('HSET', key, 'day', day, 'tok', 0)
  end
  R('HINCRBY', key, 'tok', tokens)
  if (tonumber(R('HGET', key, 'open')) or 0) <= 0 then
    R('EXPIRE', key, 2 * DAY_S)
  end
end

local function used(x, id)
  local u = base.load(usage(x, id), 'open', 'day', 'tok')
  local today = tonumber(u.day) == math.floor(x.sec / DAY_S)
  return math.max(tonumber(u.open) or 0, 0), today and tonumber(u.tok) or 0
end

-- Would so many requests and bytes more pass a quota of the key? cap: on its
-- bytes, where it has no quota of its own; 0: none.
function quota.full(x, id, requests, bytes, cap)
  local k = base.load(x.P .. 'k:' .. id, 'stored', 'q_req', 'q_bytes', 'q_tok')
  local q_req, q_tok = tonumber(k.q_req) or 0, tonumber(k.q_tok) or 0
  local q_bytes = tonumber(k.q_bytes) or 0
  local open, tokens = used(x, id)
  if q_bytes == 0 then q_bytes = cap end
  return q_req > 0 and requests > 0 and open + requests > q_req or
         q_tok > 0 and requests > 0 and tokens >= q_tok or
         q_bytes > 0 and bytes > 0 and
           (tonumber(k.stored) or 0) + bytes > q_bytes
end

-- key_create: ARGV 1 id 2 hash 3 name 4 hint 5 scopes 6 priority 7 quota of
--   requests 8 of bytes 9 of tokens a day. Returns "ok" or "exists".
local function create(keys, args)
  local x = base.open(keys)
  local key = x.P .. 'k:' .. args[1]
  local known = R('HGET', x.P .. 'kh', args[2])
  if known or R('ZSCORE', x.P .. 'keys', args[1]) then return 'exists' end
  R('HSET', key, 'name', args[3], 'hint', args[4], 't', x.now, 'rev', 0, 'h',
    args[2], 'sc', args[5], 'prio', args[6], 'q_req', args[7], 'q_bytes',
    args[8], 'q_tok', args[9])
  R('HSETNX', key, 'stored', 0)
  R('HSET', x.P .. 'kh', args[2], args[1])
  R('ZADD', x.P .. 'keys', x.now, args[1])
  return 'ok'
end

-- Until some of the bytes that a key has stored go, in ms.
local function bytes_free_ms(x, id)
  local oldest = R('ZRANGE', x.P .. 'k:' .. id .. ':f', 0, 0)[1]
  local at = oldest and tonumber(R('HGET', x.P .. 'f:' .. oldest, 'exp'))
  return at and math.max(at - x.now, 0) or 0
end

local function show(x, id)
  local k = base.load(x.P .. 'k:' .. id, 'name', 'hint', 't', 'rev', 'stored',
                      'sc', 'prio', 'q_req', 'q_bytes', 'q_tok', 'h')
  local open, tokens = used(x, id)
  if not k.h then return nil end
  return {id, k.name, k.hint, k.t, k.rev, k.h, k.sc or ALL_SCOPES,
          k.prio or PRIORITY, k.q_req or 0, k.q_bytes or 0, k.q_tok or 0, open,
          k.stored or 0, tokens, bytes_free_ms(x, id),
          (DAY_S - x.sec % DAY_S) * 1000}
end

-- key_find: ARGV 1 hash. Returns a key or nil.
local function find(keys, args)
  local x = base.open(keys)
  local id = R('HGET', x.P .. 'kh', args[1])
  return id and show(x, id) or nil
end

-- key_get: ARGV 1 id. Returns a key or nil.
local function get(keys, args)
  return show(base.open(keys), args[1])
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
redis.register_function('@V@_key_get', get)
redis.register_function('@V@_key_list', list)
redis.register_function('@V@_key_revoke', revoke)
