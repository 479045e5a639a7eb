-- rollback.lua - what a wrong stage of a line over several volunteers takes with
-- it: rows, tokens and stints that were computed from it.

-- What is left of the stints where boundaries keep limit(b) rows and the line
-- keep tokens. What was right for its inputs (is_right) is credited.
local function cut_stints(x, s, limit, keep, is_right)
  local m, stints = base.load(x.P .. 'm:' .. s.m, 'cr', 'span', 'crs'), {}
  for _, t in ipairs(cmsgpack.unpack(s.sn)) do
    local to = t[8] and limit(t[8]) or keep
    if t[8] and t[6] > to and is_right(t) then
      local lost = {t[1], t[2], t[3], t[4], math.max(t[5], to), t[6], t[7], t[8]}
      base.ledger(x, t[2], 'work', (sequence.worth(s, lost, m)))
    end
    if t[5] < to then
      t[6] = math.min(t[6], to)
      table.insert(stints, t)
    end
  end
  return cmsgpack.pack(stints)
end

-- Row `row` of stage f is the first that is wrong: the log is cut back there,
-- and all that was computed from it goes. keep: tokens that stay. blamed: map
-- of the accounts that were wrong.
local function rollback(x, p, sid, s, G, f, row, keep, blamed)
  local key, e = sequence.key(x, sid), stage.finish_of(G, f)
  local len, right = log.row_len(tonumber(G.d)), {}
  local function limit(b) return b >= e and row or s.np + keep end
  for i = 1, #G.path - 1 do
    right[G.path[i + 1]] = G.path[i] ~= f and verify.load(G, G.path[i]).st == 'y'
  end
  local sn = cut_stints(x, s, limit, keep, function(t)
    return not blamed[trust.maker(t)] and
           (right[t[8]] or trust.trusted(x, p, trust.maker(t)))
  end)
  if verify.load(G, f).ch == '1' then trust.season(x, p, true) end
  verify.drop(x, sid, s, G)
  local fields = {}
  for i = 2, #G.path do
    local b = G.path[i]
    local n = math.min(stage.num(G, 'r', b), limit(b))
    if b ~= G.path[#G.path] then log.cut(x, sid, b, n, len) end
    fields['r' .. b] = n
  end
  stage.set(x, sid, G, fields)
  local each = #s.lp / math.max(#s.o / 4, 1)
  s.o = s.o:sub(1, keep * 4)
  R('HSET', key, 'o', s.o, 'pr', s.pr:sub(1, keep * 16), 'lp',
    s.lp:sub(1, keep * each), 'sn', sn, 'fin', '')
  R('HINCRBY', key, 'ep', 1)
  base.count(x, 'rollbacks', 1)
  stage.reopen(x, sid, s, G)
end

-- A stage was found wrong from `at` on (a row; at the head, a token).
-- Returns the accounts that were wrong, those that computed it first.
function verify.wrong(x, p, sid, s, G, f, V, at)
  local e, no = stage.finish_of(G, f), #s.o / 4
  local row, keep, blamed, order = at, math.max(0, at - s.np + 1), {}, {}
  if e == G.path[#G.path] then row, keep = s.np - 1 + at, at end
  for _, t in ipairs(verify.stints_at(s, G, f, at)) do
    local a = trust.maker(t)
    if not blamed[a] then table.insert(order, a) end
    blamed[a] = true
  end
  for _, c in ipairs(V.ck ~= '' and cmsgpack.unpack(V.ck) or {}) do
    if not c[5] and not blamed[c[2]] then -- said that it was right
      blamed[c[2]] = true
      table.insert(order, c[2])
    end
  end
  rollback(x, p, sid, s, G, f, row, math.min(keep, no), blamed)
  return order
end
