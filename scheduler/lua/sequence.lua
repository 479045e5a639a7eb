-- sequence.lua - the states of one line under way. A sequence's hash:
--   b batch   l line   m model   cid custom id   blob, sx (stop strings): the
--   caller's   sg "1": the seed was given   gi, gn  of a line with several
--   choices: which it is, from 0, and of how many
--   p prompt, o tokens generated, sp stop ids: packed u32   pr fingerprints of
--   the generated tokens, 16 bytes each, log-probabilities mixed in   lp those
--   as SYN1 has them, "" where none are wanted   np tokens of the prompt
--   mt most tokens to generate   sm sampling as C packed it, 30 bytes; the seed
--   is bytes 13 to 20   bi logit biases   ie "1": ignore the model's ends
--   st  state: q ready, r in a unit, c waits for a check, k being checked,
--       d disputed, x at the referee, p finished, waits for what follows,
--       g on a path over several volunteers (stage.lua), v finished there, and
--       some of its stages are being checked (verify.lua)
--   ver rises with each change of state; what C decided on holds for one ver
--   ep  epoch   at  times its rows were leased in vain
--   own volunteer that has its KV, "" for none; kv rows of it there
--   u   unit that it is in, ""; lu, lv  the unit that expired with it, and whose
--   ps  fingerprint seed, "" until it first goes out
--   sn  stints: packed list of {volunteer, account, name, backend, from, to},
--       positions counted in generated tokens; of a stage its boundaries
--       besides, and then "1" if it was computed in class f32
--   tag its place in the queue, ctag in that for checks (fair.lua)
--   bad packed map of accounts that were wrong about it
--   av  volunteer that could not do it just now, to be avoided until avt
--   fin "s" or "l" once it is finished; tc since when it waits for its check
--   cov, rf, ch  of a drawn one: what its check covers; "1": only the referee's,
--       "2": others' only if late; "1": drawn by chance, from trusted accounts
--   ck  packed list of the volunteers who checked it and agreed, or ""
--   ct, cp, cw   tokens, fingerprints of the checker that differed, and who
-- It is deleted when it is final.
local GROUP = {q = 'n_q', r = 'n_r', c = 'n_c', k = 'n_c', d = 'n_c', x = 'n_c',
               p = 'n_c', g = 'n_r', v = 'n_c'}

function sequence.key(x, sid) return x.P .. 's:' .. sid end

-- By which number volunteer vid knows it, as text. It tells nothing: not when the
-- sequence was queued, nor whether another volunteer's is the same.
function sequence.alias(x, vid, sid)
  x.secret = x.secret or R('GET', x.P .. 'sign') or ''
  local hash = redis.sha1hex(x.secret .. ':' .. vid .. ':' .. sid)
  return string.format('%.0f', tonumber(hash:sub(1, 13), 16))
end

-- Change the state; s has b and st. to nil: it ends.
function sequence.move(x, sid, s, to)
  local from, into = GROUP[s.st], GROUP[to]
  if from ~= into then
    local b = x.P .. 'b:' .. s.b
    if from then
      local n = R('HINCRBY', b, from, -1)
      if from == 'n_q' then batch.fewer(x, s.b, n) end
      base.count(x, from, -1)
    end
    if into then
      R('HINCRBY', b, into, 1)
      base.count(x, into, 1)
    end
  end
  if (s.st == 'p') ~= (to == 'p') then
    R('HINCRBY', x.P .. 'b:' .. s.b, 'n_p', to == 'p' and 1 or -1)
  end
  if to then
    local key = sequence.key(x, sid)
    R('HSET', key, 'st', to)
    R('HINCRBY', key, 'ver', 1)
  end
  s.st = to
end

-- Ready for anyone, from scratch. tag: of a line that was never taken.
function sequence.queue(x, sid, s, tag)
  if known.is(s) and not tag then return known.drop(x, sid) end
  local key = sequence.key(x, sid)
  sequence.move(x, sid, s, 'q')
  R('HSET', key, 'own', '', 'kv', 0, 'u', '')
  R('ZADD', x.P .. 'q:' .. s.m,
    tag or fair.again(x, 'q:' .. s.m, R('HGET', key, 'tag')), sid)
  x.wake = true
end

-- Ready for the volunteer that has its KV.
function sequence.stick(x, sid, s, vid)
  sequence.move(x, sid, s, 'q')
  R('HSET', sequence.key(x, sid), 'own', vid, 'u', '')
  R('ZADD', volunteer.key(x, vid) .. ':q', x.now, sid)
  R('ZADD', x.P .. 'sticky', x.now, sid)
end

-- Out of every queue for work.
function sequence.unqueue(x, sid, s)
  fair.drop(x, 'q:' .. s.m, sid)
  R('ZREM', x.P .. 'sticky', sid)
  if s.own and s.own ~= '' then
    R('ZREM', volunteer.key(x, s.own) .. ':q', sid)
  end
end

-- A ready sequence loses its owner.
function sequence.unstick(x, sid, vid)
  R('ZREM', volunteer.key(x, vid) .. ':q', sid)
  R('ZREM', x.P .. 'sticky', sid)
  local s = base.load(sequence.key(x, sid), 'b', 'm', 'st', 'own')
  if s.st == 'q' and s.own == vid then sequence.queue(x, sid, s) end
end

-- Waits for a check (again), in its key's turn.
function sequence.check(x, sid, s, since)
  local key, queue = sequence.key(x, sid), 'c:' .. s.m
  local t = base.load(key, 'np', 'mt', 'first', 'ctag')
  local tag = t.ctag and fair.again(x, queue, t.ctag) or
    fair.tag(x, queue, fair.who(x, R('HGET', batch.key(x, s.b), 'key') or ''),
             t.np + t.mt, t.first == '1')
  sequence.move(x, sid, s, 'c')
  R('HSET', key, 'u', '', 'tc', since, 'own', '', 'kv', 0, 'ctag', tag)
  R('ZADD', x.P .. queue, tag, sid)
  x.wake = true
end

-- Out of the queue for checks.
function sequence.uncheck(x, sid, m)
  fair.drop(x, 'c:' .. m, sid)
end

-- Waits for the referee (again).
function sequence.dispute(x, sid, s)
  sequence.move(x, sid, s, 'd')
  R('HSET', sequence.key(x, sid), 'u', '')
  R('ZADD', x.P .. 'r:' .. s.m, x.now, sid)
  x.wake = true
end

-- A volunteer could not do sid: not again for a moment.
local AVOID_MS = 1000
function sequence.avoid(x, sid, vid)
  R('HSET', sequence.key(x, sid), 'av', vid, 'avt', x.now + AVOID_MS)
end

function sequence.avoids(x, s, vid)
  return s.av == vid and tonumber(s.avt) > x.now
end

-- Remember that an account was wrong about sid.
function sequence.bad(x, sid, account)
  local key = sequence.key(x, sid)
  local bad = cmsgpack.unpack(R('HGET', key, 'bad'))
  bad[account] = true
  R('HSET', key, 'bad', cmsgpack.pack(bad))
end

-- An account (as trust.makers names it) lost a dispute about sid, which may be
-- final by now.
function sequence.blame(x, p, sid, account)
  if R('EXISTS', sequence.key(x, sid)) == 1 then
    sequence.bad(x, sid, trust.account(account))
  end
  trust.lost(x, p, account)
  base.ledger(x, trust.account(account), 'lie')
  base.count(x, 'disagreements', 1)
end

-- Back to the first keep tokens, in a new epoch; whose stint of the whole model
-- holds the next one is blamed.
function sequence.rollback(x, p, sid, keep)
  local key = sequence.key(x, sid)
  local s = base.load(key, 'b', 'm', 'st', 'o', 'pr', 'lp', 'sn', 'ch', 'ck',
                      'np')
  local stints = {}
  trust.undo(x, p, sid, s)
  stage.drop(x, sid, s)
  for _, t in ipairs(cmsgpack.unpack(s.sn)) do
    local left = t[7] and s.np + keep or keep -- its rows, or its tokens
    if t[7] then sequence.bad(x, sid, t[2]) end -- one of them was: others go on
    if not t[7] and t[5] <= keep and keep < t[6] then
      sequence.blame(x, p, sid, t[2])
    end
    if t[5] < left then
      t[6] = math.min(t[6], left)
      table.insert(stints, t)
    end
  end
  local each = #s.lp / math.max(#s.o / 4, 1)
  R('HSET', key, 'o', s.o:sub(1, keep * 4), 'pr', s.pr:sub(1, keep * 16), 'lp',
    s.lp:sub(1, keep * each), 'sn', cmsgpack.pack(stints), 'fin', '', 'ct', '',
    'cp', '', 'cw', '', 'ck', '')
  R('HINCRBY', key, 'ep', 1)
  base.count(x, 'rollbacks', 1)
  sequence.queue(x, sid, s)
end

-- The part of the model that is between boundaries f and e. m has cr, span, crs.
function sequence.share(m, f, e)
  if not m.crs or m.crs == '' then return (e - f) / m.span end
  local from, to = struct.unpack('<I8', m.crs, f * 8 + 1),
                   struct.unpack('<I8', m.crs, e * 8 + 1)
  return (to - from) / m.cr
end

-- What a stint is worth: its credit, and the tokens that it made. s has np, m
-- cr, span and crs. The first stint's maker computed the prompt; one of a partial
-- span counts its part of the model.
function sequence.worth(s, t, m)
  local rows, tokens, share = t[6] - t[5], t[6] - t[5], 1
  if t[7] then
    share = sequence.share(m, t[7], t[8])
    tokens = t[8] == tonumber(m.span) and
      math.max(t[6] - math.max(t[5], s.np - 1), 0) or 0
  elseif t[5] == 0 then
    rows = rows + tonumber(s.np) - 1
  end
  return rows * m.cr / 1000 * share, tokens
end

local CHECKS_MAX = 8 -- that a record tells

-- Its line is confirmed: record, credit, forget. checker: the referee who found
-- it right, {volunteer, account, name, backend, referee}, or nil. stages: those
-- who checked one of its stages, and have been credited: the same, then the
-- stage's boundaries.
function sequence.final(x, p, sid, checker, stages)
  local key = sequence.key(x, sid)
  local s = base.load(key, 'b', 'm', 'st', 'l', 'cid', 'blob', 'sx', 'sg', 'o',
                      'lp', 'np', 'sm', 'sn', 'fin', 'cov', 'ch', 'ck',
                      'p', 'bi', 'sp', 'gi', 'gn')
  local m = base.load(x.P .. 'm:' .. s.m, 'name', 'cr', 'span', 'crs')
  local stints, makers, n, seen = cmsgpack.unpack(s.sn), '', 0, {}
  local classes, near = '', 0 -- of the makers; 2: not all are exact
  local n_tokens, agreed = #s.o / 4, checker ~= nil
  for _, t in ipairs(stints) do
    if not seen[t[1]] and n < 8 then
      seen[t[1]] = true
      n = n + 1
      makers = makers .. base.str(t[3]) .. base.str(t[4])
      classes = classes .. (t[9] == '1' and '\1' or '\0')
    end
    if t[9] == '1' then near = 2 end
    base.ledger(x, t[2], 'work', sequence.worth(s, t, m))
  end
  local checkers = s.ck and s.ck ~= '' and cmsgpack.unpack(s.ck) or {}
  if checker then table.insert(checkers, checker) end
  if checkers[1] then R('HINCRBY', x.P .. 'b:' .. s.b, 'n_ct', n_tokens) end
  for _, c in ipairs(checkers) do
    if not c[5] then
      base.ledger(x, c[2], 'check', (s.np + n_tokens - 1) * m.cr / 1000)
    end
  end
  for _, c in ipairs(stages or {}) do
    if #checkers < CHECKS_MAX then table.insert(checkers, c) end
  end
  local last = checkers[stages and 1 or #checkers]
  batch.final(x, s, n_tokens,
    struct.pack('<I8I1I1I1I1I4I4I8', s.l, 0, s.fin == 's' and 0 or 1,
                (s.sg == '1' and 1 or 0) + near, n, s.np, n_tokens, x.now) ..
    s.sm:sub(13, 20) .. base.str(s.cid) .. base.str('') .. base.str(s.o) ..
    base.str(s.lp) .. base.str(s.sx) .. base.str(s.blob) .. base.str(m.name) ..
    base.str(last and last[3] or '') .. base.str(last and last[4] or '') ..
    base.str(receipt.record(x, s, checkers)) .. makers ..
    (near > 0 and classes or ''))
  sequence.forget(x, sid, s)
  if agreed then trust.agreed(x, p, sid, s) end
end

-- Out of the store, from wherever it is.
function sequence.forget(x, sid, s)
  sequence.unqueue(x, sid, s)
  sequence.uncheck(x, sid, s.m)
  R('ZREM', x.P .. 'r:' .. s.m, sid)
  trust.drop(x, sid, s)
  stage.drop(x, sid, s)
  sequence.move(x, sid, s, nil)
  R('SREM', x.P .. 'b:' .. s.b .. ':s', sid)
  R('DEL', sequence.key(x, sid))
end
