-- detour.lua - sequences whose way is blocked: nobody holds the span of one of
-- their stages any more, and the plan has another way. They go on along the new
-- path from the last boundary that both have, on the rows that are in the log.

-- The last boundary up to f that both paths have; 0 is one.
local function fork(old, new, f)
  local there, best = {}, 0
  for _, b in ipairs(new) do there[b] = true end
  for _, b in ipairs(old) do
    if there[b] and b <= f and b > best then best = b end
  end
  return best
end

local function joined(old, new, b)
  local path = {}
  for _, at in ipairs(old) do
    if at < b then table.insert(path, at) end
  end
  for _, at in ipairs(new) do
    if at >= b then table.insert(path, at) end
  end
  return path
end

-- Lead sequence sid around its stage f. Returns false if it must wait.
local function turn(x, p, sid, f)
  local G = stage.load(x, sid)
  local s = base.load(sequence.key(x, sid), 'b', 'm', 'st', 'np', 'o', 'mt')
  if not G or s.st ~= 'g' then return true end
  local M = base.load(x.P .. 'm:' .. s.m, 'span', 'ctx')
  local new = plan.path(x, s.m)
  if R('EXISTS', stage.holders_key(x, s.m, 0, M.span)) == 1 and
     not (new and stage.covered(x, s.m, new)) then
    stage.drop(x, sid, s)
    sequence.queue(x, sid, s) -- tokens are enough for those
    return true
  end
  if not new or not stage.covered(x, s.m, new, batch.near(x, s.b)) then
    return false
  end
  local old = G.path
  local path = joined(old, new, fork(old, new, f))
  local ends, kept = {}, {}
  for i = 1, #path - 1 do ends[path[i]] = path[i + 1] end
  for _, b in ipairs(path) do kept[b] = true end
  local n = math.min(s.np + s.mt, tonumber(M.ctx))
  local more = log.reserve(x, p, n, #path - #old, log.row_len(tonumber(G.d)))
  if not more then return false end
  for i = 1, #old - 1 do
    local b = old[i]
    if ends[b] ~= old[i + 1] then
      stage.own(x, sid, s, G, b, '')
      stage.unqueue(x, sid, s.m, G, b)
      stage.set(x, sid, G, {['u' .. b] = '', ['w' .. b] = ''})
    end
    if not kept[b] then
      R('DEL', log.key(x, sid, b))
      stage.set(x, sid, G, {['r' .. b] = 0})
    end
  end
  stage.set(x, sid, G, {path = cmsgpack.pack(path), lb = G.lb + more})
  G.path = path
  for i = 1, #path - 1 do stage.offer(x, sid, s, G, path[i]) end
  base.count(x, 'detours', 1)
  return true
end

-- Is there somebody for a line of m from its beginning?
local function ways(x, m)
  local path = plan.path(x, m)
  return path and stage.covered(x, m, path) or
    R('EXISTS', stage.holders_key(x, m, 0, R('HGET', x.P .. 'm:' .. m, 'span'))) == 1
end

-- Is m's span f..e one that somebody is to hold?
local function planned(x, m, f, e)
  local path = plan.path(x, m) or {}
  for i = 1, #path - 1 do
    if path[i] == f and path[i + 1] == e then return true end
  end
  return false
end

-- Stages, or their checks, have waited for a holder of a span ("<m>:<f>-<e>") for
-- a while.
local STEP = 50
function detour.look(x, p, name)
  local m, f, e = name:match('(%x+):(%d+)-(%d+)')
  f, e = tonumber(f), tonumber(e)
  local queue = stage.queue_key(x, m, f, e)
  if R('EXISTS', queue) + verify.waits(x, name) == 0 or
     R('EXISTS', stage.holders_key(x, m, f, e)) == 1 then
    R('ZREM', x.P .. 'blocked', name)
    return
  end
  R('ZADD', x.P .. 'blocked', x.now, name) -- look again
  if planned(x, m, f, e) then return end
  if ways(x, m) and R('SCARD', x.P .. 'refs') == 0 then
    verify.restart(x, p, name, STEP)
  end
  for _, member in ipairs(R('ZRANGE', queue, 0, STEP - 1)) do
    local sid = member:match('%d+')
    if not turn(x, p, sid, f) then return end
    R('ZREM', queue, member)
  end
end
