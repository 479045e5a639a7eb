-- commit.lua - take in the result of a unit, sequence by sequence.
--
-- In two steps: plan looks and writes nothing; where C has to decide first
-- (where a stop string cuts, whether a check agrees) the plan says what to ask,
-- and the same call comes again with the decisions, each good for one version
-- of its sequence.

-- The states in which a row of that kind may still be taken in: in the unit, or
-- queued again and not yet taken by anyone.
local HELD = {w = 'r', c = 'k', x = 'x'}
local LATE = {w = 'q', c = 'c', x = 'd'}

local function alive(x, vid, s, r, u)
  if r[7] == 'g' then return s.b and flow.alive(x, vid, s, r, u) end
  if r[7] == 'v' or r[7] == 'y' then return s.b and verify.alive(x, s, r, u) end
  if not s.b or s.ep ~= tostring(r[2]) or #s.o / 4 ~= r[8] then return false end
  if s.u == u then return s.st == HELD[r[7]] end
  return s.u == '' and s.lu == u and s.st == LATE[r[7]]
end

-- The token ids that end sequence s.
local function ends(M, s)
  local set, text = {}, s.sp .. (s.ie == '1' and '' or M.ends)
  for i = 1, #text, 4 do set[struct.unpack('<I4', text, i)] = true end
  return set
end

-- How many bytes of log-probabilities each token of s comes with.
local function probs_len(s)
  local flags, n_top = struct.unpack('<BB', s.sm, 29)
  return flags % 2 == 1 and 4 + 8 * n_top or 0
end

-- Is what came for row r well formed? Returns ok, and whether its last token
-- ends the sequence. An honest engine gives all that was asked for, or fewer
-- up to an end token; and nothing after one.
local function formed(r, s, res, M)
  local n = #res.tokens / 4
  if r[7] == 'g' and r[6] == 0 and s.G.path[#s.G.path] == r[10] then
    return n == 0, false
  elseif r[7] == 'g' and s.G.path[#s.G.path] ~= r[10] then
    return flow.formed(s, r, res), false
  elseif s.V and s.G.path[#s.G.path] ~= r[10] then
    return verify.formed(r, res), false
  end
  local stop, vocab = ends(M, s), tonumber(M.vocab)
  if #res.prints ~= n * 16 or #res.logprobs ~= n * probs_len(s) or
     n > r[5] + r[6] or n == 0 then
    return false
  end
  for i = 1, n do
    local t = struct.unpack('<I4', res.tokens, i * 4 - 3)
    if t >= vocab then return false end
    if (r[7] == 'w' or r[7] == 'g') and stop[t] then return i == n, true end
  end
  return n == r[5] + r[6], false
end

-- What the decision of C says, if it is about this version: a list of numbers.
local function decided(s, res)
  local d = {}
  for n in res.decision:gmatch('%d+') do table.insert(d, tonumber(n)) end
  return d[1] == (s.V and s.V.ver or tonumber(s.ver)) and d
end

-- The stints of s, packed, with the new tokens of row r up to no.
local function stints_with(s, r, vid, v, no)
  local stints = cmsgpack.unpack(s.sn)
  local last = stints[#stints]
  no = no or r[8] + 1
  if last and last[1] == vid and last[6] == r[8] then
    last[6] = no
  else
    table.insert(stints, {vid, v.a, v.name, v.be, r[8], no})
  end
  return cmsgpack.pack(stints)
end

-- Does the sequence end with these tokens, stop strings aside?
local function ends_with(r, s, res, M, stop)
  local no = r[8] + #res.tokens / 4
  return stop or no >= tonumber(s.mt) or s.np + no >= tonumber(M.ctx)
end

-- Returns the plan: {U = unit or nil, acts = {...}, ask = {...}, fault}.
function commit.plan(x, vid, v, u, results)
  local U = base.load(unit.key(x, u), 'v', 'm', 't0', 'wp', 'rows', 'stage',
                      'check')
  local plan = {acts = {}, ask = {}}
  if U.v ~= vid or trust.banned(x, v.a) then return plan end
  local M = base.load(x.P .. 'm:' .. U.m, 'vocab', 'ends', 'ctx', 'name')
  plan.U, plan.M, plan.rows = U, M, cmsgpack.unpack(U.rows)
  plan.fault = #plan.rows ~= #results
  for i, r in ipairs(plan.rows) do
    local res = results[i]
    plan.fault = plan.fault or res.sid ~= sequence.alias(x, vid, r[1]) or
                 res.ep ~= r[2] or res.first ~= r[3]
  end
  if plan.fault then return plan end
  for i, r in ipairs(plan.rows) do
    local res = results[i]
    local s = base.load(sequence.key(x, r[1]), 'b', 'm', 'st', 'ver', 'ep', 'u',
                        'lu', 'own', 'kv', 'np', 'mt', 'p', 'o', 'pr', 'sn',
                        'sp', 'ie', 'sx', 'sm', 'lp', 'tc', 'ct', 'cp', 'cw',
                        'ck', 'ch', 'cov')
    local act = {r = r, s = s, res = res}
    if not alive(x, vid, s, r, u) then
      act.what = 'drop'
    elseif res.status ~= 0 then
      act.what = 'status'
    else
      local ok, stop = formed(r, s, res, M)
      act.what, act.stop = ok and 'take' or 'fault', stop
      act.d = decided(s, res)
      if ok and not act.d then
        if r[7] == 'g' then
          if r[6] == 1 and (s.sx ~= '' or ends_with(r, s, res, M, stop)) then
            for _, w in ipairs({i, s.sx ~= '' and 'cut' or 'draw',
                                tonumber(s.ver), s.o, s.sx, M.name,
                                trust.snapshot(x, flow.makers(s, r, v))}) do
              table.insert(plan.ask, w)
            end
          end
        elseif s.V then
          verify.ask(x, plan.ask, i, act)
        elseif r[7] ~= 'w' then
          for _, v in ipairs({i, 'verdict', tonumber(s.ver), s.o, s.pr,
                              r[7] == 'x' and s.ct or '',
                              r[7] == 'x' and s.cp or ''}) do
            table.insert(plan.ask, v)
          end
        elseif s.sx ~= '' or ends_with(r, s, res, M, stop) then
          -- the draw counts only if the line does end
          local sn = stints_with(s, r, vid, v)
          for _, w in ipairs({i, s.sx ~= '' and 'cut' or 'draw',
                              tonumber(s.ver), s.o, s.sx, M.name,
                              trust.snapshot(x, {trust.makers(sn)})}) do
            table.insert(plan.ask, w)
          end
        end
      end
    end
    table.insert(plan.acts, act)
  end
  return plan
end

-- New tokens. d: {version, how many to keep, whether a stop string ended it,
-- whether it is checked if it has ended}.
local function take_tokens(x, p, vid, v, act, M)
  local r, s, res, d = act.r, act.s, act.res, act.d
  local sid, n = r[1], #res.tokens / 4
  local stop = act.stop
  if d then
    if d[2] < n then stop = false end
    n, stop = math.max(1, math.min(n, d[2])), stop or d[3] == 1
  end
  local no, np = r[8] + n, tonumber(s.np)
  s.sn = stints_with(s, r, vid, v, no)
  sequence.unqueue(x, sid, s)
  R('HSET', sequence.key(x, sid), 'o', s.o .. res.tokens:sub(1, n * 4), 'pr',
    s.pr .. res.prints:sub(1, n * 16), 'lp',
    s.lp .. res.logprobs:sub(1, n * probs_len(s)), 'sn', s.sn, 'kv',
    np + no - 1)
  if stop or no >= tonumber(s.mt) or np + no >= tonumber(M.ctx) then
    R('HSET', sequence.key(x, sid), 'fin', stop and 's' or 'l')
    if known.is(s) then
      table.insert(x.wrong, known.ended(x, sid))
      return n
    end
    local red = tonumber(R('HGET', batch.key(x, s.b), 'red')) or 1
    trust.ended(x, p, sid, s, red > 1 or d[4] == 1)
    x.ended[s.b] = true
  else
    sequence.stick(x, sid, s, vid)
  end
  return n
end

-- A check, or the word on a dispute. d: {version, primary is right, challenger
-- is right, how many tokens of the primary are right}.
local function take_verdict(x, p, vid, v, act)
  local r, s, res, d = act.r, act.s, act.res, act.d
  local sid, referee = r[1], v.ref == '1'
  local key = sequence.key(x, sid)
  sequence.uncheck(x, sid, s.m)
  R('ZREM', x.P .. 'r:' .. s.m, sid)
  R('HINCRBY', batch.key(x, s.b), 'n_rt', #s.o / 4)
  x.ended[s.b] = true
  if r[7] == 'c' and d[2] == 0 and not referee then
    R('HSET', key, 'ct', res.tokens, 'cp', res.prints, 'cw',
      cmsgpack.pack({vid, v.a, v.name, v.be}))
    return sequence.dispute(x, sid, s)
  end
  if r[7] == 'x' then
    local cw = cmsgpack.unpack(s.cw)
    if d[2] == 0 and d[3] == 0 and not referee then
      return sequence.dispute(x, sid, s) -- three answers: someone else's turn
    end
    if d[3] == 0 then
      sequence.blame(x, p, sid, cw[2])
    else
      local cr = tonumber(R('HGET', x.P .. 'm:' .. s.m, 'cr'))
      base.ledger(x, cw[2], 'check', (#s.p + #s.o) / 4 * cr / 1000)
      R('HINCRBY', x.P .. 'acct:' .. cw[2], 'run', 1)
    end
  end
  local agreed = s.ck and s.ck ~= '' and cmsgpack.unpack(s.ck) or {}
  if d[2] == 0 then
    for _, c in ipairs(agreed) do sequence.blame(x, p, sid, c[2]) end
    return sequence.rollback(x, p, sid, d[4])
  end
  local red = tonumber(R('HGET', batch.key(x, s.b), 'red')) or 1
  local checker = {vid, v.a, v.name, v.be, referee}
  if referee then
    known.keep(x, sid)
    return sequence.final(x, p, sid, checker)
  end
  R('HINCRBY', x.P .. 'acct:' .. v.a, 'run', 1)
  table.insert(agreed, checker)
  s.ck = cmsgpack.pack(agreed)
  R('HSET', key, 'ck', s.ck)
  if #agreed + 1 < red then return sequence.check(x, sid, s, x.now) end
  trust.vouched(x, p, sid, s)
end

-- The volunteer could not do it.
local function take_status(x, vid, act, u)
  local r, s = act.r, act.s
  local sid = r[1]
  if s.u ~= u then return end -- queued again already
  if r[7] ~= 'w' then
    sequence.avoid(x, sid, vid)
    unit.back(x, u, vid, r, false)
  elseif act.res.status == 1 and r[3] > 0 then
    -- its KV is gone: the same volunteer, with the history
    R('HSET', sequence.key(x, sid), 'kv', 0)
    R('HINCRBY', sequence.key(x, sid), 'at', 1)
    sequence.stick(x, sid, s, vid)
  else
    sequence.avoid(x, sid, vid)
    unit.back(x, u, vid, r, false)
  end
end

-- Measure how fast it was: what it did, in the time that it says it computed,
-- unless that is longer than the unit was out.
local function measure(x, vid, v, U, tokens, compute_us)
  local key = volunteer.key(x, vid)
  local since = math.max(tonumber(U.t0), tonumber(v.t_res) or 0)
  local ms, said = math.max(x.now - since, 1), compute_us / 1000
  if said > 0 and said < ms then ms = said end
  local rate = (tonumber(U.wp) + tokens) / math.max(ms, 0.1) * 1000
  if tonumber(v.rate) then rate = (tonumber(v.rate) + rate) / 2 end
  v.rate = string.format('%.3f', math.max(rate, 0.01))
  R('HSET', key, 'rate', v.rate, 't_res', x.now)
  R('HINCRBY', key, 'units', 1)
  local told = tonumber(v.rep) or 0
  stats.tick(x, math.max(tokens - told, 0))
  R('HSET', key, 'rep', math.max(told - tokens, 0))
end

-- Do what the plan says. Returns 1 accepted, 2 gone or refused.
function commit.apply(x, p, vid, v, u, plan, compute_us, random)
  local outcome, tokens, wrong = 2, 0, plan.fault
  if not plan.U then return 2 end
  x.wrong = {} -- accounts that gave a wrong known answer
  x.ended = {} -- batches of which a line has ended or was checked
  if plan.fault then
    for _, r in ipairs(plan.rows) do
      if R('EXISTS', sequence.key(x, r[1])) == 1 then
        sequence.avoid(x, r[1], vid)
        unit.back(x, u, vid, r, false)
      end
    end
  end
  for _, act in ipairs(plan.acts) do
    if act.what == 'take' then
      outcome = 1
      if act.r[7] == 'g' then
        tokens = tokens + flow.take(x, p, vid, v, act, plan.M)
      elseif act.r[7] == 'w' then
        tokens = tokens + take_tokens(x, p, vid, v, act, plan.M)
      elseif act.s.V then
        verify.verdict(x, p, vid, v, act)
      else
        take_verdict(x, p, vid, v, act)
      end
    elseif act.what == 'status' then
      outcome = 1
      if act.r[7] == 'g' then
        flow.status(x, vid, act, u)
      elseif act.s.V then
        verify.back(x, u, vid, act.r, true)
      else
        take_status(x, vid, act, u)
      end
    elseif act.what == 'fault' then
      wrong = true
      if act.r[7] == 'g' then
        flow.refused(x, vid, act.r, u)
      elseif act.s.V then
        verify.back(x, u, vid, act.r, true)
      else
        sequence.avoid(x, act.r[1], vid)
        unit.back(x, u, vid, act.r, false)
      end
    end
  end
  if wrong then
    if v.ref ~= '1' then base.ledger(x, v.a, 'fault') end
    base.count(x, 'faults', 1)
    R('HINCRBY', volunteer.key(x, vid), 'faults', 1)
  end
  if outcome == 1 then
    if plan.U.stage then
      flow.measure(x, vid, v, plan.U, compute_us)
      stats.tick(x, tokens)
    elseif plan.U.check then
      R('HINCRBY', volunteer.key(x, vid), 'units', 1)
    else
      measure(x, vid, v, plan.U, tokens, compute_us)
    end
    if v.ref ~= '1' then base.ledger(x, v.a, 'unit') end
    base.count(x, 'units', 1)
  end
  for id in pairs(x.ended) do trust.settle_batch(x, p, id, random) end
  R('ZREM', x.P .. 'units', u)
  R('SREM', volunteer.key(x, vid) .. ':u', u)
  entry.ended(x, v.block, u)
  R('DEL', unit.key(x, u))
  for _, a in ipairs(x.wrong) do
    trust.lost(x, p, a)
    base.ledger(x, a, 'lie')
    base.count(x, 'disagreements', 1)
  end
  return outcome
end
