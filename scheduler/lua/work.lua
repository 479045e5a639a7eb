-- work.lua - the work call.

-- What is leased to vid but not in held (concatenated ids) never reached it, or
-- was lost there: it is queued again, for the same volunteer. One that loses
-- unit after unit would take the same rows for ever: then others have a turn.
local LOST = 3 -- units in a row, without a result that counts
local function requeue_unlisted(x, vid, held)
  local key = volunteer.key(x, vid)
  local listed = {}
  for i = 1, #held, 16 do listed[base.hex(held:sub(i, i + 15))] = true end
  for _, u in ipairs(R('SMEMBERS', key .. ':u')) do
    if not listed[u] then
      local again = R('HINCRBY', key, 'lost', 1) < LOST
      if not again then unit.avoid(x, u, vid) end
      unit.drop(x, u, again)
    end
  end
end

-- The spans of a call, {m, first, end} each, without those of unknown models;
-- whole: models that it holds whole.
local function spans_of(x, text)
  local spans, parts, whole = {}, {}, {}
  for i = 1, #text, 20 do
    local m = base.hex(text:sub(i, i + 15))
    local f, e = struct.unpack('<I2I2', text, i + 16)
    local N = tonumber(R('HGET', x.P .. 'm:' .. m, 'span'))
    if N and f < e and e <= N then
      table.insert(spans, {m, f, e})
      if e - f == N then
        table.insert(whole, m)
      else
        table.insert(parts, {m, f, e})
      end
    end
  end
  return spans, parts, whole
end

-- work: ARGV 1 volunteer 2 token hash 3 number 4 policy 5 fresh unit id
--   6 fresh seed 7 slots 8 k, times 1000 9 "1": draining 10 unit ids held
--   11 spans cached: 16 bytes of model id, u16 first, u16 end each
--   12 memory it has beyond them, bytes
--   13 unit id of the result or "" 14 its compute time, us, then 10 for each of
--   its sequences: 15 id 16 epoch 17 first 18 status 19 finish 20 tokens
--   21 fingerprints 22 log-probabilities 23 rows
--   24 decision or ""
-- Returns
--   {"denied"}, {"old"}
--   {"ask", then 7 for each: index of the sequence (1-based), and
--     "cut" or "draw", version, tokens so far, stop strings, model's name,
--       snapshot (trust.lua)
--     "verdict", version, primary's tokens, its fingerprints, challenger's
--       tokens, challenger's fingerprints
--     "rows" or "near", version, primary's rows, seed, challenger's
--       fingerprints, "" or the span (verify.lua)}:
--     decide, and call again with the decisions "version keep stopped", then for
--     each item of the snapshot whether it is drawn, or "version primary
--     challenger keep"
--   {"ans", outcome, "unit", unit id, model, span first, span end, attempt,
--     seed, flags (256 more: in class f32), row width, then 13 for each sequence: id, epoch, first,
--     kv_valid, n_predict, max_new, n_prompt, sampling, biases, stop ids, n_rows,
--     tokens, rows}
--   {"ans", outcome, "none", reason, ms until the next look, model, span first,
--     span end}
local function work(keys, args)
  local x, p = base.open(keys), base.policy(args[4])
  local vid, number = args[1], tonumber(args[3])
  local key = volunteer.key(x, vid)
  local v = base.load(key, 'th', 'a', 'name', 'be', 'ref', 'an', 'ao', 'ar',
                      'rate', 't_res', 'rep', 'prate', 'lst', 'fz', 'as', 'mem',
                      'block', 'sl', 'cls', 'told')
  if v.th ~= args[2] then return {'denied'} end
  local last, outcome = tonumber(v.an), tonumber(v.ao)
  if number < last then return {'old'} end
  if number == last and v.ar ~= '' then
    return {'ans', outcome, unpack(cmsgpack.unpack(v.ar))}
  end
  if number > last then
    outcome = 0
    if args[13] ~= '' then
      local results, u = {}, base.hex(args[13])
      for i = 15, #args, 10 do
        table.insert(results, {
          sid = args[i], ep = tonumber(args[i + 1]),
          first = tonumber(args[i + 2]), status = tonumber(args[i + 3]),
          tokens = args[i + 5], prints = args[i + 6],
          logprobs = args[i + 7], rows = args[i + 8], decision = args[i + 9],
        })
      end
      local plan = commit.plan(x, vid, v, u, results)
      if #plan.ask > 0 then return {'ask', unpack(plan.ask)} end
      outcome = commit.apply(x, p, vid, v, u, plan, tonumber(args[14]),
                             struct.unpack('<I4', args[6]))
      if outcome == 1 then R('HSET', key, 'lost', 0) end
    end
    requeue_unlisted(x, vid, args[10])
    R('HSET', key, 'an', args[3], 'ao', outcome, 'ar', '')
  end
  volunteer.seen(x, vid, p)
  local spans, parts, whole = spans_of(x, args[11])
  if (v.lst ~= args[11] or v.told ~= args[12]) and v.ref ~= '1' then
    plan.memory(x, vid, v, spans, args[12])
  end
  if v.lst ~= args[11] then
    -- who only checks, or is banned, is nobody to count on for work
    if v.ref ~= '1' and not trust.banned(x, v.a) then
      stage.holds(x, vid, spans)
    end
    R('HSET', key, 'lst', args[11])
  end
  local reply
  if args[9] == '1' then
    reply = {'none', 6, p.retake_ms, '', 0, 0}
  elseif v.fz == args[3] then
    reply = {'none', 1, p.retake_ms, '', 0, 0} -- nobody is there to answer
  else
    reply = take.unit(x, vid, v, {
      slots = tonumber(args[7]), k = tonumber(args[8]) / 1000,
      models = whole, spans = parts, listed = args[11], uid = args[5], seed = args[6],
    }, p)
  end
  if reply[1] == 'unit' then
    entry.given(x, p, v, base.hex(args[5]))
    R('HSET', key, 'ar', cmsgpack.pack(reply), 'wait', 0)
  else
    R('HSET', key, 'wait', x.now + p.retake_ms * 2)
  end
  base.close(x)
  return {'ans', outcome, unpack(reply)}
end

-- work_release: the client had gone when a unit was taken for its call.
--   ARGV 1 volunteer 2 token hash 3 number 4 unit id
-- Returns "ok", also when there was nothing to release.
local function release(keys, args)
  local x = base.open(keys)
  local key, u = volunteer.key(x, args[1]), base.hex(args[4])
  local v = base.load(key, 'th', 'an')
  if v.th == args[2] and v.an == args[3] and
     R('SISMEMBER', key .. ':u', u) == 1 then
    R('HSET', key, 'ar', '')
    unit.drop(x, u, true)
    base.close(x)
  end
  return 'ok'
end

redis.register_function('@V@_work', work)
redis.register_function('@V@_work_release', release)
