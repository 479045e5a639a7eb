-- batch.lua - models, batches, jobs. A batch's hash:
--   key, model, input, total, url, secret, meta, endp (endpoint), win
--   (completion window, ms), inf (id of the input file's record)   as created
--   st   status, the number of enum sched_batch_status
--   t_exp  when it expires; exp "1": it has, and its lines become errors
--   t_can  when cancelling began
--   outf, errf  ids of the output and the error file
--   t_new, t_run, t_fin, t_end   when it got there, 0: not yet
--   hold  reading in waits until so few lines are queued, "": it does not
--   p_sum tokens of the prompts read in
--   go    when its first line was taken; w1, w0: "time lines": the last time
--         that the final lines were counted, and the time before
--   open  of its lines, how many count as open requests of its key
--   read  lines ingested; closed "1": no more will come
--   n_ok, n_bad  final lines; n_q, n_r, n_c  the others as they are now
--   tok  tokens of final lines, p_ok  of their prompts    out, out_bytes  output file
--   ev   callback event of its end; ev_at, ev_n, ev_st  delivered, attempts,
--   last status   pt, pd, pe  last progress event: when, tenths, lines
--   ec, et, el  error of a failed batch   red  redundancy, 1 to 3
--   rc "1": its lines carry receipts   ap "1": class f32 will do
--   n_ct  tokens of final lines that were checked, n_rt  computed by checks
-- b:<id>:g, a hash, of its lines with several choices, one sequence each, that
-- are not final: <line>:<choice>  record of a final choice   <line>:n  how many
-- there are   <line>:e "1": the line ended in an error
local INGEST, OUTPUT = 'ingest', 'output'

function batch.key(x, id) return x.P .. 'b:' .. id end

-- Does it take class f32, too?
function batch.near(x, id) return R('HGET', batch.key(x, id), 'ap') == '1' end

local function job_add(x, kind, id)
  R('ZADD', x.P .. 'j:' .. kind, x.now, id)
  R('HSET', x.P .. 'j:' .. kind .. ':' .. id, 'lease', '', 'cursor', 0, 'line',
    0, 'taken', 0)
  x.job = true
end

local function job_end(x, kind, id)
  R('ZREM', x.P .. 'j:' .. kind, id)
  R('DEL', x.P .. 'j:' .. kind .. ':' .. id)
end

-- Is the job held under that lease?
local function job_held(x, kind, id, lease)
  return R('HGET', x.P .. 'j:' .. kind .. ':' .. id, 'lease') == lease
end

-- When every line is final, the output is due.
local function settle(x, id)
  local key = batch.key(x, id)
  local b = base.load(key, 'st', 'closed', 'total', 'n_ok', 'n_bad', 'ask')
  if b.st == '1' and not b.ask and b.closed == '1' and
     tonumber(b.n_ok) + tonumber(b.n_bad) >= tonumber(b.total) then
    R('HSET', key, 'st', 2, 't_fin', x.now)
    job_add(x, OUTPUT, id)
  end
end

-- A batch that was cancelled or has expired has let go of its lines.
local function wind_up(x, id)
  local key = batch.key(x, id)
  local b = base.load(key, 'st', 'exp', 'closed')
  if (b.st == '7' or b.st == '2' and b.exp == '1') and b.closed == '1' and
     R('SCARD', key .. ':s') == 0 then
    job_add(x, OUTPUT, id)
  end
end

local function over(st) return tonumber(st) >= 3 and tonumber(st) <= 6 end

-- How its final lines came in the last one or two of these stretches.
local STRETCH_MS = 30000
local function recent(x, key)
  local b = base.load(key, 'w0', 'w1', 'n_ok', 'n_bad')
  local n = b.n_ok + b.n_bad
  local t1 = tonumber((b.w1 or ''):match('^%d+'))
  if not t1 or x.now - t1 > STRETCH_MS then
    R('HSET', key, 'w1', string.format('%.0f %d', x.now, n), 'w0',
      b.w1 or string.format('%.0f %d', x.now, n))
  end
end

-- A final line: its record for C (batch_read.c reads it). spent: tokens of its
-- prompt and its answer.
local function result(x, id, bad, tokens, spent, cid, record)
  local key = batch.key(x, id)
  local b = base.load(key, 'st', 'key', 'cbe', 'ep', 'total', 't_new', 'pt',
                      'pd', 'pe')
  if not b.st or over(b.st) then return end
  local n = R('RPUSH', key .. ':res', record)
  R('HINCRBY', key, 'open', -1)
  quota.open(x, b.key, -1)
  if not bad then
    quota.spend(x, b.key, spent)
  end
  R('HINCRBY', key, bad and 'n_bad' or 'n_ok', 1)
  R('HINCRBY', key, 'tok', tokens)
  R('HINCRBY', key, 'p_ok', spent - tokens)
  if b.cbe and b.cbe ~= '' then callback.line(x, id, b, n, cid) end
  recent(x, key)
  base.count(x, bad and 'failed' or 'confirmed', 1)
  base.count(x, 'tokens', tokens)
  settle(x, id)
end

-- A sequence is final. s has b, l, cid, np, gi and gn. Its line is, if it has no
-- other choices, or if it is the last of them.
function batch.final(x, s, tokens, record)
  if not s.gn then
    result(x, s.b, false, tokens, tokens + s.np, s.cid, record)
    return
  end
  local st = R('HGET', batch.key(x, s.b), 'st')
  local group, n, names = batch.key(x, s.b) .. ':g', tonumber(s.gn), {}
  if not st or over(st) then return end
  R('HSET', group, s.l .. ':' .. s.gi, record)
  if R('HINCRBY', group, s.l .. ':n', 1) < n then return end
  for i = 0, n - 1 do table.insert(names, s.l .. ':' .. i) end
  local all, sum = struct.pack('<I8I1I1', s.l, 2, n), 0
  for _, one in ipairs(R('HMGET', group, unpack(names))) do
    all = all .. base.str(one)
    sum = sum + struct.unpack('<I4', one, 17)
  end
  R('HDEL', group, s.l .. ':n', unpack(names))
  result(x, s.b, false, sum, sum + s.np, s.cid, all)
end

-- A line that ends in an error.
local function result_bad(x, id, number, cid, text)
  result(x, id, true, 0, 0, cid,
    struct.pack('<I8I1I1I1I1I4I4I8', number, 1, 0, 0, 0, 0, 0, x.now) ..
    struct.pack('<I8', 0) .. base.str(cid) .. base.str(text) ..
    string.rep(base.str(''), 8))
end

local EXPIRED = '{"code":"batch_expired","message":"This request was not ' ..
  'done before the completion window expired.","param":null}'

-- The line of sequence sid ends in an error, unless another of its choices said so.
local function refuse(x, sid, s, text)
  sequence.forget(x, sid, s)
  local told = s.gn and
    R('HSETNX', batch.key(x, s.b) .. ':g', s.l .. ':e', 1) == 0
  if not told then result_bad(x, s.b, s.l, s.cid, text) end
end

-- It can never run over spans: its log would take more than the budget.
function batch.too_long(x, sid, bytes, budget)
  local s = base.load(sequence.key(x, sid), 'b', 'm', 'st', 'own', 'l', 'cid',
                      'sn', 'gn')
  refuse(x, sid, s, string.format('{"code":"log_budget_exceeded","message":' ..
    '"This request needs %.0f bytes of activation log to run over several ' ..
    'volunteers, and the server allows %.0f: ask for fewer tokens, or have ' ..
    '--log-bytes raised.","param":"max_tokens"}', bytes, budget))
end

-- model_put: ARGV 1 id (32 bytes) 2 name 3 shards 4 vocabulary 5 context
--   6 end ids, packed 7 credit of 1000 rows 8 width of a row, 0: not known
--   9 for each shard its bytes, those of a sequence's KV, and those to compute,
--   packed u64
--   10 credit of 1000 rows of the shards before each boundary, packed u64
--   11 layers of each shard, packed u32
local function model_put(keys, args)
  local x = base.open(keys)
  local m = base.hex(args[1]:sub(1, 16))
  R('HSET', x.P .. 'm:' .. m, 'id', args[1], 'name', args[2], 'span', args[3],
    'vocab', args[4], 'ctx', args[5], 'ends', args[6], 'cr', args[7], 't', x.now)
  if args[8] ~= '0' then
    local need, scratch = 0, 0
    for i = 1, #args[9], 24 do
      local n, kv, more = struct.unpack('<I8I8I8', args[9], i)
      need, scratch = need + n + kv, math.max(scratch, more)
    end
    R('HSET', x.P .. 'm:' .. m, 'd', args[8], 'szs', args[9], 'need',
      need + scratch, 'crs', args[10], 'ly', args[11])
    plan.touch(x)
  end
  R('SADD', x.P .. 'models', m)
  return 'ok'
end

-- batch_create: ARGV 1 id 2 key 3 model 4 input file 5 its bytes 6 lines
--   7 url 8 secret 9 metadata 10 cap on the key's stored bytes, 0: none
--   11 policy 12 endpoint 13 completion window, ms 14 id of the input file
--   15 redundancy 16 "1": with receipts 17 endpoint of the callback 18 letters
--   of its events (callback.lua) 19 "1": class f32 will do
-- With bytes the input file's record is made too; with 0 it is there already.
-- Returns "ok" (also for a repeat) or "full".
local function create(keys, args)
  local x, p = base.open(keys), base.policy(args[11])
  local key, owner = batch.key(x, args[1]), x.P .. 'k:' .. args[2]
  if R('EXISTS', key) == 1 then return 'ok' end
  local bytes, n = tonumber(args[5]), tonumber(args[6])
  if quota.full(x, args[2], n, bytes, tonumber(args[10])) then return 'full' end
  quota.open(x, args[2], n)
  if bytes > 0 then
    file.put(x, p, {id = args[14], key = args[2], path = args[4],
                    name = 'requests.jsonl', purpose = 'batch', bytes = bytes,
                    lines = args[6]})
  end
  R('HSET', key, 'key', args[2], 'model', args[3], 'input', args[4], 'inf',
    args[14], 'endp', args[12], 'win', args[13], 't_exp', x.now + args[13],
    'exp', '', 't_can', 0, 'outf', '', 'errf', '', 'total', args[6], 'url', args[7], 'secret', args[8], 'meta', args[9],
    'st', 0, 'open', n, 't_new', x.now, 't_run', 0, 't_fin', 0, 't_end', 0, 'read', 0,
    'closed', '', 'n_ok', 0, 'n_bad', 0, 'n_q', 0, 'n_r', 0, 'n_c', 0, 'tok', 0,
    'out', '', 'out_bytes', 0, 'ev', '', 'ev_at', 0, 'ev_n', 0, 'ev_st', 0,
    'ec', '', 'et', '', 'el', 0, 'red', args[15], 'rc', args[16],
    'n_ct', 0, 'n_rt', 0, 'ep', args[17], 'cbe', args[18], 'ap', args[19])
  R('ZADD', x.P .. 'expiring', x.now + args[13], args[1])
  R('ZADD', owner .. ':b', x.now, args[1])
  R('PEXPIRE', owner .. ':b', p.keep_ms * 2)
  job_add(x, INGEST, args[1])
  base.close(x)
  return 'ok'
end

local EVENTS = {
  [3] = 'batch.completed', [4] = 'batch.failed', [5] = 'batch.cancelled',
  [6] = 'batch.expired',
}

-- Its end: nothing of it stays but the record, for a while.
local function finish(x, id, p, status, event)
  local key = batch.key(x, id)
  local b = base.load(key, 'key', 'open')
  quota.open(x, b.key, -(tonumber(b.open) or 0))
  R('HSET', key, 'st', status, 't_end', x.now, 'open', 0)
  R('DEL', key .. ':res', key .. ':g')
  R('PEXPIRE', key, p.keep_ms)
  R('ZREM', x.P .. 'expiring', id)
  if callback.add(x, id, event, EVENTS[status], p.keep_ms) then
    R('HSET', key, 'ev', event)
  end
end

-- batch_add: ARGV 1 batch 2 lease 3 cursor from 4 cursor to 5 ttl, ms, then 16
--   for each line: 6 number 7 custom id 8 error or "" 9 model (16 bytes)
--   10 prompt 11 max_tokens 12 sampling of each choice 13 "1": seed given
--   14 biases
--   15 stop ids 16 stop strings 17 blob 18 "1": ignore the model's ends
-- Returns "ok", "gone", "range" (unknown model, or no room in its context) or
-- "full": enough is queued.
local LINE = 13
local SAMPLING = 30 -- bytes of one (sequence.lua)
batch.LINE = LINE

-- Choice c (from 1) of n of the request whose arguments begin at i.
local function choice(x, id, args, i, who, first, c, n)
  local sid = R('INCR', x.P .. 'sids')
  local s = {b = id, m = base.hex(args[i + 3])}
  local tag = fair.tag(x, 'q:' .. s.m, who, #args[i + 4] / 4 + args[i + 5], first)
  R('HSET', sequence.key(x, sid), 'b', id, 'l', args[i], 'cid', args[i + 1],
    'm', s.m, 'p', args[i + 4], 'np', #args[i + 4] / 4, 'mt', args[i + 5],
    'sm', args[i + 6]:sub((c - 1) * SAMPLING + 1, c * SAMPLING), 'sg', args[i + 7], 'bi', args[i + 8], 'sp',
    args[i + 9], 'sx', args[i + 10], 'blob', args[i + 11], 'ie',
    args[i + 12], 'o', '', 'pr', '', 'lp', '', 'ver', 0, 'ep', 0, 'at', 0, 'own', '',
    'kv', 0, 'u', '', 'lu', '', 'lv', '', 'ps', '', 'sn', cmsgpack.pack({}),
    'bad', cmsgpack.pack({}), 'av', '', 'avt', 0, 'fin', '', 'tc', 0, 'ct',
    '', 'cp', '', 'cw', '', 'cov', '', 'rf', '', 'ch', '', 'ck', '', 'tag', tag)
  if n > 1 then R('HSET', sequence.key(x, sid), 'gi', c - 1, 'gn', n) end
  R('SADD', batch.key(x, id) .. ':s', sid)
  sequence.queue(x, tostring(sid), s, tag)
  return tostring(sid)
end

-- Queue the request whose arguments begin at i, a sequence for each choice;
-- returns the last. who: its key (fair.lua); first: before those of batches.
function batch.request(x, id, args, i, who, first)
  local n, sid = #args[i + 6] / SAMPLING
  for c = 1, n do sid = choice(x, id, args, i, who, first, c, n) end
  return sid
end

-- So many lines of a batch stand in the queue at once, or so many tokens of
-- their prompts, or what so many volunteers may want: the rest waits in its
-- file.
local QUEUED, QUEUED_TOKENS, EACH = 8192, 2 ^ 22, 64

local function is_full(x, key)
  local b = base.load(key, 'n_q', 'read', 'p_sum')
  local mean = math.max((tonumber(b.p_sum) or 0) / math.max(b.read, 1), 1)
  local limit = math.min(QUEUED, math.max(math.floor(QUEUED_TOKENS / mean), 64))
  limit = math.max(limit, math.min(EACH * R('ZCARD', x.P .. 'vols'), 2 ^ 16))
  if tonumber(b.n_q) < limit then return false end
  R('HSET', key, 'hold', math.floor(limit / 2))
  return true
end

-- So few lines of a batch are queued now: go on reading it in?
function batch.fewer(x, id, n)
  R('HSETNX', batch.key(x, id), 'go', x.now)
  local hold = tonumber(R('HGET', batch.key(x, id), 'hold'))
  if not hold or n > hold then return end
  R('HSET', batch.key(x, id), 'hold', '')
  if R('HGET', x.P .. 'j:' .. INGEST .. ':' .. id, 'lease') == '' then
    R('ZADD', x.P .. 'j:' .. INGEST, 'XX', x.now, id)
  end
  x.job = true
end

local function add(keys, args)
  local x = base.open(keys)
  local id, from = args[1], args[3]
  local key, job = batch.key(x, id), x.P .. 'j:' .. INGEST .. ':' .. id
  if not job_held(x, INGEST, id, args[2]) then return 'gone' end
  local cursor = R('HGET', job, 'cursor')
  if cursor ~= from then return cursor == args[4] and 'ok' or 'gone' end
  local contexts, n = {}, (#args - 5) / LINE
  for i = 6, #args, LINE do
    local m = args[i + 3]
    if args[i + 2] == '' then
      contexts[m] = contexts[m] or
        tonumber(R('HGET', x.P .. 'm:' .. base.hex(m), 'ctx')) or 0
      if #args[i + 4] / 4 + 1 > contexts[m] then return 'range' end
    end
  end
  local st = base.load(key, 'st', 'exp', 'key')
  if n > 0 and st.exp ~= '1' and is_full(x, key) then return 'full' end
  local who = fair.who(x, st.key)
  if st.st == '0' and n > 0 then R('HSET', key, 'st', 1, 't_run', x.now) end
  R('HINCRBY', key, 'read', n)
  for i = 6, #args, LINE do
    if args[i + 2] ~= '' then
      result_bad(x, id, args[i], args[i + 1], args[i + 2])
    elseif st.exp == '1' then
      result_bad(x, id, args[i], args[i + 1], EXPIRED)
    else
      R('HINCRBY', key, 'p_sum', #args[i + 4] / 4)
      batch.request(x, id, args, i, who, false)
    end
  end
  R('HSET', job, 'cursor', args[4])
  R('HINCRBY', job, 'line', n)
  R('ZADD', x.P .. 'j:' .. INGEST, x.now + args[5], id)
  base.close(x)
  return 'ok'
end

-- batch_lines_done: ARGV 1 batch 2 lease. Returns "ok" or "gone".
local function lines_done(keys, args)
  local x = base.open(keys)
  local key = batch.key(x, args[1])
  if R('HGET', key, 'closed') == '1' then return 'ok' end
  if not job_held(x, INGEST, args[1], args[2]) then return 'gone' end
  local b = base.load(key, 'key', 'total', 'read')
  R('HSET', key, 'closed', '1', 'total', b.read)
  R('HINCRBY', key, 'open', b.read - b.total)
  quota.open(x, b.key, b.read - b.total)
  if R('HGET', key, 'exp') ~= '1' then R('HSET', key, 'st', 1) end
  if R('HGET', key, 't_run') == '0' then R('HSET', key, 't_run', x.now) end
  job_end(x, INGEST, args[1])
  settle(x, args[1])
  wind_up(x, args[1])
  base.close(x)
  return 'ok'
end

-- batch_cancel: ARGV 1 batch 2 key. What is final stays; the rest is dropped.
-- Returns "ok" (also for a repeat), "none", or "exists": it is over.
local function cancel(keys, args)
  local x = base.open(keys)
  local key = batch.key(x, args[1])
  local b = base.load(key, 'key', 'st')
  if not b.key or b.key ~= args[2] then return 'none' end
  if over(b.st) then return b.st == '5' and 'ok' or 'exists' end
  if b.st == '0' or b.st == '1' then
    R('HSET', key, 'st', 7, 't_can', x.now, 'closed', '1')
    R('ZREM', x.P .. 'expiring', args[1])
    job_end(x, INGEST, args[1])
    R('SADD', x.P .. 'dying', args[1])
    x.job = true
    base.close(x)
  end
  return 'ok'
end

-- The completion window of a batch has passed.
function batch.expire(x, id)
  local key = batch.key(x, id)
  local st = R('HGET', key, 'st')
  R('ZREM', x.P .. 'expiring', id)
  if st ~= '0' and st ~= '1' then return end
  R('HSET', key, 'st', 2, 't_fin', x.now, 'exp', '1')
  R('SADD', x.P .. 'dying', id)
end

-- batch_fail: ARGV 1 batch 2 kind of the job 3 lease 4 code 5 text 6 line
--   7 event id 8 policy
local function fail(keys, args)
  local x, p = base.open(keys), base.policy(args[8])
  local key = batch.key(x, args[1])
  if R('HGET', key, 'st') == '4' then return 'ok' end
  if not job_held(x, args[2], args[1], args[3]) then return 'gone' end
  R('HSET', key, 'ec', args[4], 'et', args[5], 'el', args[6])
  job_end(x, args[2], args[1])
  R('SADD', x.P .. 'dying', args[1])
  finish(x, args[1], p, 4, args[7])
  base.close(x)
  return 'ok'
end

-- batch_output: ARGV 1 batch 2 lease 3 file of all results 4 its bytes 5 event
--   id 6 policy, then twice, for output and error file: id or "", path, bytes,
--   lines
local function output(keys, args)
  local x, p = base.open(keys), base.policy(args[6])
  local key = batch.key(x, args[1])
  local b = base.load(key, 'st', 'exp', 'key')
  if b.st == '3' or b.st == '5' or b.st == '6' then return 'ok' end
  if not job_held(x, OUTPUT, args[1], args[2]) then return 'gone' end
  R('HSET', key, 'out', args[3], 'out_bytes', args[4], 'outf', args[7], 'errf',
    args[11])
  for i = 7, 11, 4 do
    if args[i] ~= '' then
      file.put(x, p, {id = args[i], key = b.key, path = args[i + 1],
                      name = args[1] .. (i == 7 and '_output' or '_error') ..
                        '.jsonl', purpose = 'batch_output',
                      bytes = args[i + 2], lines = args[i + 3]})
    end
  end
  if args[3] ~= args[8] and args[3] ~= args[12] then
    file.put(x, p, {id = 'all-' .. args[1], key = b.key, path = args[3],
                    name = 'all', purpose = 'batch_results', bytes = args[4],
                    lines = 0, hidden = true})
  end
  job_end(x, OUTPUT, args[1])
  finish(x, args[1], p, b.st == '7' and 5 or b.exp == '1' and 6 or 3, args[5])
  base.close(x)
  return 'ok'
end

-- Drop some sequences of batches that failed, were cancelled or have expired.
-- Returns how many.
function batch.bury(x, limit)
  local id = R('SRANDMEMBER', x.P .. 'dying')
  if not id then return 0 end
  local expired = R('HGET', batch.key(x, id), 'exp') == '1'
  local sids = R('SRANDMEMBER', batch.key(x, id) .. ':s', limit)
  for _, sid in ipairs(sids) do
    local s = base.load(sequence.key(x, sid), 'b', 'm', 'st', 'own', 'l', 'cid',
                        'sn', 'gn')
    if s.b then
      if expired then
        refuse(x, sid, s, EXPIRED)
      else
        sequence.forget(x, sid, s)
      end
    end
    R('SREM', batch.key(x, id) .. ':s', sid)
  end
  if #sids < limit then
    R('SREM', x.P .. 'dying', id)
    wind_up(x, id)
  end
  return #sids
end

-- The job that is due first, among those of keys of which fewer than SAME are
-- being worked on.
local SAME, SCAN = 2, 256
local function next_due(x, queue, ttl)
  local due = R('ZRANGE', queue, '-inf', x.now, 'BYSCORE', 'LIMIT', 0, SCAN)
  local busy = {}
  if not due[1] then return nil end
  for _, id in ipairs(R('ZRANGE', queue, '(' .. x.now, x.now + ttl * 12,
                        'BYSCORE', 'LIMIT', 0, SCAN)) do
    if (R('HGET', queue .. ':' .. id, 'lease') or '') ~= '' then
      local key = R('HGET', batch.key(x, id), 'key')
      if key then busy[key] = (busy[key] or 0) + 1 end
    end
  end
  for _, id in ipairs(due) do
    local key = R('HGET', batch.key(x, id), 'key')
    if not key or (busy[key] or 0) < SAME then return id end
  end
end

-- job_take: ARGV 1 kind 2 fresh lease 3 ttl, ms
-- Returns {batch, cursor, line, taken}, or nil when nothing is due.
local function job_take(keys, args)
  local x = base.open(keys)
  local queue = x.P .. 'j:' .. args[1]
  local id = next_due(x, queue, tonumber(args[3]))
  if not id then return nil end
  local job = queue .. ':' .. id
  R('ZADD', queue, x.now + args[3], id)
  R('HSET', job, 'lease', args[2])
  R('HINCRBY', job, 'taken', 1)
  local j = base.load(job, 'cursor', 'line', 'taken')
  return {id, j.cursor, j.line, j.taken}
end

-- job_back: ARGV 1 kind 2 batch 3 lease 4 delay, ms. Returns "ok" or "gone".
local function job_back(keys, args)
  local x = base.open(keys)
  if not job_held(x, args[1], args[2], args[3]) then return 'gone' end
  local delay = args[4]
  if args[1] == INGEST and
     (R('HGET', batch.key(x, args[2]), 'hold') or '') == '' then
    delay = 0 -- what it waited for has come meanwhile
  end
  R('HSET', x.P .. 'j:' .. args[1] .. ':' .. args[2], 'lease', '')
  R('ZADD', x.P .. 'j:' .. args[1], x.now + delay, args[2])
  return 'ok'
end

local FIELDS = {
  'key', 'model', 'input', 'out', 'st', 't_new', 't_run', 't_fin', 't_end',
  'total', 'read', 'n_ok', 'n_bad', 'n_q', 'n_r', 'n_c', 'tok', 'url', 'secret',
  'ev', 'ev_at', 'ev_n', 'ev_st', 'meta', 'ec', 'et', 'el', 'endp', 'win',
  't_exp', 't_can', 'inf', 'outf', 'errf',
  'red', 'n_ct', 'n_rt', 'rc', 'ap', 'cbe',
}

-- The first shard of the batch's model that nobody is to hold, as text, or nil.
local function short_of(x, b)
  for _, m in ipairs(R('SMEMBERS', x.P .. 'models')) do
    local miss, n = plan.missing(x, m)
    if miss and (b.model == '' or
       R('HGET', x.P .. 'm:' .. m, 'name') == b.model) then
      return 'shard ' .. miss .. ' of ' .. n
    end
  end
end

-- Does a stage of the batch's model wait for a check that none of those who are
-- there can make?
local function unchecked(x, b)
  for _, m in ipairs(R('SMEMBERS', x.P .. 'models')) do
    for _, span in ipairs(R('SMEMBERS', x.P .. 'cr:' .. m)) do
      if R('SCARD', x.P .. 'h:' .. m .. ':' .. span) < 2 and (b.model == '' or
         R('HGET', x.P .. 'm:' .. m, 'name') == b.model) then
        return true
      end
    end
  end
  return false
end

-- Why nothing of it moves: "", "volunteers", "checks", or "shard 3 of 8".
local function waiting(x, b)
  if b.st ~= '1' and b.st ~= '0' then return '' end
  local n = R('HLEN', x.P .. 'oa')
  if tonumber(b.n_q) + tonumber(b.n_r) > 0 then
    return n == 0 and 'volunteers' or short_of(x, b) or ''
  end
  if tonumber(b.n_c) > 0 and R('SCARD', x.P .. 'refs') == 0 and
     (n < 2 or unchecked(x, b)) then
    return 'checks'
  end
  return ''
end

-- A batch as a list: id, FIELDS, waiting. nil when it is not there, or not key's.
function batch.show(x, id, owner)
  local b = base.load(batch.key(x, id), unpack(FIELDS))
  if not b.key or owner ~= '' and b.key ~= owner then return nil end
  local list = {id}
  for _, name in ipairs(FIELDS) do table.insert(list, b[name]) end
  table.insert(list, waiting(x, b))
  local t = base.load(batch.key(x, id), 'go', 'w0', 'p_ok')
  local at, n = (t.w0 or ''):match('^(%d+) (%d+)$')
  table.insert(list, t.go and x.now - t.go or 0)
  table.insert(list, at and x.now - at or 0)
  table.insert(list, at and math.max(b.n_ok + b.n_bad - n, 0) or 0)
  table.insert(list, t.p_ok or 0)
  return list
end

-- batch_get: ARGV 1 id 2 key or "". Returns a batch or nil.
local function get(keys, args)
  return batch.show(base.open(keys), args[1], args[2])
end

-- batch_list: ARGV 1 key 2 after or "" 3 limit
-- Returns {1 if there are more, batches...}; nil when after is unknown.
local function list(keys, args)
  local x = base.open(keys)
  local index = x.P .. 'k:' .. args[1] .. ':b'
  local at, limit, out = 0, tonumber(args[3]), {0}
  if args[2] ~= '' then
    at = R('ZREVRANK', index, args[2])
    if not at then return nil end
    at = at + 1
  end
  while #out <= limit do
    local ids = R('ZREVRANGE', index, at, at)
    if not ids[1] then return out end
    local b = batch.show(x, ids[1], args[1])
    if b then
      table.insert(out, b)
      at = at + 1
    else
      R('ZREM', index, ids[1]) -- its time has passed
    end
  end
  out[1] = R('ZCARD', index) > at and 1 or 0
  return out
end

-- batch_results: ARGV 1 id 2 key or "" 3 after 4 limit
-- Returns {how many there are now, records...}; "none" or "gone".
local PAGE_BYTES = 4 * 1024 * 1024
local function results(keys, args)
  local x = base.open(keys)
  local b = base.load(batch.key(x, args[1]), 'key', 'st')
  if not b.key or args[2] ~= '' and b.key ~= args[2] then return 'none' end
  if over(b.st) then return 'gone' end
  local res = batch.key(x, args[1]) .. ':res'
  local at, bytes, out = tonumber(args[3]), 0, {R('LLEN', res)}
  local left = tonumber(args[4])
  while left > 0 and bytes < PAGE_BYTES do
    local some = R('LRANGE', res, at, at + math.min(left, 50) - 1)
    if #some == 0 then break end
    for _, r in ipairs(some) do
      bytes = bytes + #r
      table.insert(out, r)
    end
    at, left = at + #some, left - #some
  end
  return out
end

local function register(name, fn)
  redis.register_function('@V@_' .. name, fn)
end

register('model_put', model_put)
register('batch_create', create)
register('batch_add', add)
register('batch_lines_done', lines_done)
register('batch_cancel', cancel)
register('batch_fail', fail)
register('batch_output', output)
register('batch_get', get)
register('batch_list', list)
register('batch_results', results)
register('job_take', job_take)
register('job_back', job_back)
