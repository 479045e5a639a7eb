-- plan.lua - how models are split over those that cannot hold them whole. What is
-- decided here is decided in C (plan_make.h), from a snapshot and at its version.
--   p:<m>    hash  path  boundaries of new sequences, packed u16; miss  1-based
--                  number of the first shard that nobody is to hold, 0: none;
--                  pin  a path that the operator wants; open  sequences that
--                  are on a path and not finished
--   p:<m>:v  hash  id or name of a volunteer -> span that the operator wants it
--                  to hold, packed u16
--   In a volunteer's hash: as  what it is to hold: 16 bytes of model id, u16
--   first, u16 end; "": what it likes
--   In g: pv  version of what plans are made from; pd  the one they were made of

-- Something changed that plans are made from.
function plan.touch(x) base.count(x, 'pv', 1) end

-- Is a plan due?
function plan.due(x)
  local g = base.load(x.P .. 'g', 'pv', 'pd')
  return g.pv and g.pv ~= g.pd
end

-- A volunteer's call tells what memory it has beside the spans that it lists
-- ({m, f, e} each): what it may use in all may not be what it was.
function plan.memory(x, vid, v, spans, told)
  local all, key = tonumber(told), volunteer.key(x, vid)
  for _, t in ipairs(spans) do
    local sizes = R('HGET', x.P .. 'm:' .. t[1], 'szs')
    if not sizes then return end -- of a model that is never split
    for i = t[2], t[3] - 1 do
      all = all + struct.unpack('<I8', sizes, i * 24 + 1)
    end
  end
  R('HSET', key, 'told', told)
  all = string.format('%.0f', all)
  if all == '0' or all == v.mem then return end
  R('HSET', key, 'mem', all)
  v.mem = all
  plan.touch(x)
end

-- The boundaries that new sequences of m run over, or nil.
function plan.path(x, m)
  local text, path = R('HGET', x.P .. 'p:' .. m, 'path'), {}
  if not text then return nil end
  for i = 1, #text, 2 do
    table.insert(path, (struct.unpack('<I2', text, i)))
  end
  return path
end

-- What a volunteer is to hold, if it is not among the spans of its call
-- (packed): m, first, end.
function plan.wanted(as, spans)
  if not as or as == '' then return nil end
  for i = 1, #spans, 20 do
    if spans:sub(i, i + 19) == as then return nil end
  end
  return base.hex(as:sub(1, 16)), struct.unpack('<I2I2', as, 17)
end

-- The first shard of a model that nobody is to hold, and of how many; nil.
function plan.missing(x, m)
  local miss = tonumber(R('HGET', x.P .. 'p:' .. m, 'miss')) or 0
  if miss == 0 then return nil end
  return miss, tonumber(R('HGET', x.P .. 'm:' .. m, 'span'))
end

-- Models that can be split: those with work first, then the newest.
local function models(x)
  local list = {}
  for _, m in ipairs(R('SMEMBERS', x.P .. 'models')) do
    local M = base.load(x.P .. 'm:' .. m, 'id', 'name', 'span', 'szs', 't', 'ly')
    if M.szs then
      M.m, M.t = m, tonumber(M.t)
      if R('EXISTS', x.P .. 'q:' .. m) == 1 then M.t = M.t * 2 end
      table.insert(list, M)
    end
  end
  table.sort(list, function(a, b)
    return a.t > b.t or a.t == b.t and a.m < b.m
  end)
  return list
end

-- The span that the operator wants a volunteer to hold, as in its as; "".
local function pinned(x, list, id, name)
  for _, M in ipairs(list) do
    local t = R('HMGET', x.P .. 'p:' .. M.m .. ':v', id, name)
    local span = t[1] or t[2]
    if span then return M.id:sub(1, 16) .. span end
  end
  return ''
end

-- One that joins by a name that is pinned is told at once: it must not begin
-- with something else.
function plan.joined(x, id, name)
  local as = pinned(x, models(x), id, name)
  if as ~= '' then R('HSET', volunteer.key(x, id), 'as', as) end
  plan.touch(x)
end

-- plan_look: returns {version, models, then for each: id (16 bytes), name,
-- shards, their sizes (model_put), path, "1" if it is pinned, missing, queued,
--   their layers;
-- then for each volunteer but referees: id, name, backend, memory, speed,
-- spans it holds (as in its call), span it is to hold, span it is pinned to,
--   kernel class}
local LOOK = 4096 -- volunteers
local function look(keys)
  local x = base.open(keys)
  local list = models(x)
  local out = {R('HGET', x.P .. 'g', 'pv') or 0, #list}
  for _, M in ipairs(list) do
    local t = base.load(x.P .. 'p:' .. M.m, 'path', 'pin', 'miss')
    for _, v in ipairs({M.id:sub(1, 16), M.name, M.span, M.szs,
                        t.pin or t.path or '', t.pin and '1' or '0',
                        t.miss or 0, R('ZCARD', x.P .. 'q:' .. M.m), M.ly or ''}) do
      table.insert(out, v)
    end
  end
  for _, id in ipairs(R('ZRANGE', x.P .. 'vols', 0, LOOK - 1)) do
    local v = base.load(volunteer.key(x, id), 'name', 'be', 'mem', 'prate',
                        'lst', 'as', 'ref', 'a', 'fz', 'an', 'cls')
    if v.name and v.ref ~= '1' and v.fz ~= v.an and
       not trust.banned(x, v.a) then
      local pin = pinned(x, list, id, v.name)
      for _, f in ipairs({id, v.name, v.be, v.mem,
                          math.floor(tonumber(v.prate) or 0), v.lst or '',
                          v.as or '', pin, v.cls or 0}) do
        table.insert(out, f)
      end
    end
  end
  return out
end

-- plan_apply: ARGV 1 version 2 how many models, then 3 for each: id (16 bytes),
--   path, missing; then 2 for each volunteer: id, what it is to hold or ""
-- Returns "ok", or "gone": something has changed since.
local function apply(keys, args)
  local x = base.open(keys)
  if (R('HGET', x.P .. 'g', 'pv') or '0') ~= args[1] then return 'gone' end
  R('HSET', x.P .. 'g', 'pd', args[1])
  local i = 3
  for _ = 1, tonumber(args[2]) do
    local key = x.P .. 'p:' .. base.hex(args[i])
    if R('HGET', key, 'path') ~= args[i + 1] then x.wake = true end
    if args[i + 1] == '' then
      R('HDEL', key, 'path')
    else
      R('HSET', key, 'path', args[i + 1])
    end
    R('HSET', key, 'miss', args[i + 2])
    i = i + 3
  end
  for j = i, #args, 2 do
    local key = volunteer.key(x, args[j])
    local v = base.load(key, 'th', 'as')
    if v.th and (v.as or '') ~= args[j + 1] then
      R('HSET', key, 'as', args[j + 1])
      x.wakes[args[j]] = true
    end
  end
  base.close(x)
  return 'ok'
end

-- plan_pin: ARGV 1 model (16 bytes) 2 a volunteer's id or name, "": the path
--   3 its span or the path, packed u16; "": no more
-- Returns "ok" or "none": there is no such model.
local function pin(keys, args)
  local x = base.open(keys)
  local m = base.hex(args[1])
  if R('EXISTS', x.P .. 'm:' .. m) == 0 then return 'none' end
  local key, field = x.P .. 'p:' .. m, 'pin'
  if args[2] ~= '' then key, field = key .. ':v', args[2] end
  if args[3] == '' then
    R('HDEL', key, field)
  else
    R('HSET', key, field, args[3])
  end
  plan.touch(x)
  base.close(x)
  return 'ok'
end

redis.register_function('@V@_plan_look', look)
redis.register_function('@V@_plan_apply', apply)
redis.register_function('@V@_plan_pin', pin)
