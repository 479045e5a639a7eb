-- unit.lua - leased units. A unit's hash:
--   v volunteer   m model   t0 when it was taken   wp its weight (take.lua), or
--   its rows if it is for a partial span: then stage is there
--   rows  packed list of {sequence id, epoch, first, rows, n_predict, max_new,
--         kind, tokens it had}; kind: w work, c check, x referee's word, g a
--         stage, v check of a stage, y the word on it, these three with the
--         stage's boundaries first and end. A unit of v and y has check "1"
-- An expired unit's hash lives on for a while: its result is accepted sequence
-- by sequence while nobody else has taken those rows.
local LATE_S = 600

function unit.key(x, u) return x.P .. 'u:' .. u end

-- End the lease and queue its rows again. again: to the same volunteer, whose
-- KV is as it was (the answer was lost); else to whoever comes.
function unit.drop(x, u, again)
  local key = unit.key(x, u)
  local U = base.load(key, 'v', 'rows')
  R('ZREM', x.P .. 'units', u)
  if not U.v then return end
  R('SREM', volunteer.key(x, U.v) .. ':u', u)
  entry.ended(x, R('HGET', volunteer.key(x, U.v), 'block'), u)
  for _, r in ipairs(cmsgpack.unpack(U.rows)) do
    unit.back(x, u, U.v, r, again)
  end
  if again then
    R('DEL', key)
  else
    R('EXPIRE', key, LATE_S)
  end
end

-- Whatever is in a unit goes to others than vid for a moment.
function unit.avoid(x, u, vid)
  for _, r in ipairs(cmsgpack.unpack(R('HGET', unit.key(x, u), 'rows'))) do
    if r[7] == 'v' or r[7] == 'y' then
      verify.back(x, u, vid, r, true)
    elseif R('EXISTS', sequence.key(x, r[1])) == 1 then
      sequence.avoid(x, r[1], vid)
    end
  end
end

-- Queue one row of a unit again, if it is still in that unit.
function unit.back(x, u, vid, r, again)
  local sid, kind = r[1], r[7]
  if kind == 'g' then return stage.back(x, u, vid, r, again) end
  if kind == 'v' or kind == 'y' then
    return verify.back(x, u, vid, r, not again)
  end
  local key = sequence.key(x, sid)
  local s = base.load(key, 'b', 'm', 'st', 'u', 'own', 'kv', 'tc')
  if s.u ~= u then return end
  R('HINCRBY', key, 'at', 1)
  R('HSET', key, 'lu', u, 'lv', vid)
  if kind == 'c' then
    sequence.check(x, sid, s, s.tc)
  elseif kind == 'x' then
    sequence.dispute(x, sid, s)
  elseif again and s.own == vid and tonumber(s.kv) > 0 then
    sequence.stick(x, sid, s, vid)
  else
    sequence.queue(x, sid, s)
  end
end
