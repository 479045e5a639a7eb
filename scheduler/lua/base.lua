-- base.lua - what every room of the library uses. The files of this folder are
-- joined into one Redis function library at build, this one first, each other
-- one in a block of its own; @V@ is its version, a hash
-- of its text, so libraries of several builds can serve at once.
--
-- Every function takes one key, the cell's prefix ("syn:{0}:"), and touches only
-- keys below it. Numbers in keys of the list are times in unix ms by Redis.
-- <m> is the first 16 bytes of a model's id in hex, <u> a unit id in hex.
--
--   m:<m>        hash  a model: name, id, vocab, ctx, ends, span, cr (credit of
--                      1000 rows), crs (of the shards before each boundary), t
--                      (when it was put), ps and pst
--                      (fingerprint seed, since when)
--   models       set   of <m>
--   vols         zset  volunteer -> when it counts as gone
--   v:<id>       hash  a volunteer; see volunteer.lua
--   v:<id>:u     set   units it holds
--   v:<id>:q     zset  its sticky sequences that are ready -> since when
--   oa           hash  account -> volunteers it has online, but for
--                      referees and the banned
--   refs         set   referees online
--   s:<n>        hash  a sequence; see sequence.lua
--   sids         int   the last sequence id
--   q:<m>        zset  ready sequences without an owner -> tag (fair.lua)
--   c:<m>        zset  sequences that wait for a check -> tag
--   q:<m>:t, c:<m>:t  hash  where their keys stand; see fair.lua
--   r:<m>        zset  disputed sequences that wait for the referee -> since
--   sticky       zset  all sequences in any v:<id>:q -> since when
--   s:<n>:g, s:<n>:l<b>, v:<id>:g, st, sp, w:<m>:<span>, h:<m>:<span>
--                see stage.lua and log.lua; p:<m>, p:<m>:v see plan.lua
--   c:<m>:<span>, r:<m>:<span>, cr:<m>  see verify.lua
--   u:<u>        hash  a unit; see unit.lua. Lives on a while when expired
--   units        zset  leased units -> deadline
--   b:<id>       hash  a batch; see batch.lua
--   b:<id>:s     set   its sequences that are not final
--   b:<id>:res   list  its final lines in order of finality, packed
--   b:<id>:p, b:<id>:h, pend, left, a:<a>:p, a:<a>:d  see trust.lua
--   ka:<m>       list of known answers; see known.lua
--   n:<block>    zset  accounts that an address block opened; see entry.lua
--   dying        set   batches whose sequences are to be dropped
--   expiring     zset  batches -> end of their completion window
--   asks         zset  requests that a client waits for -> end of their lease
--   f:<id>       hash  a file; see file.lua. fexp: zset file -> when it goes
--   j:<kind>     zset  jobs (batch ids) -> due; under lease: its end
--   j:<kind>:<b> hash  lease, cursor, line, taken
--   e:<id>       hash  a callback event. events, eq:<ep>, er:<ep>, ef:<ep> (zsets
--                      and a word) and b:<id>:log (list): see callback.lua
--   k:<id>       hash  an API key; kh: hash of SHA-256 -> id; keys: zset
--   k:<id>:b     zset  its batches -> created; k:<id>:f its files
--   k:<id>:u     hash  what it uses; see key.lua
--   acct:<a>     hash  an account; board: zset account -> credit
--   ledger       stream of credit; ledger:at: the last entry that is folded
--   sign         string  see receipt.lua
--   g            hash  counters of the whole cell
--   tps:<sec>    int   tokens generated in that second, for a little while
--   wake         channel: "w" there may be work, "v<id>" for that volunteer,
--                "j" there may be a job

-- redis.call is not there yet while the library is loaded.
local function R(...) return redis.call(...) end

-- One table a room; each file fills its own.
local base, volunteer, sequence, unit, take = {}, {}, {}, {}, {}
local commit, file, batch, ask, stats = {}, {}, {}, {}, {}
local trust, fair, log, stage, flow, plan = {}, {}, {}, {}, {}, {}
local quota, receipt, detour, callback, place = {}, {}, {}, {}, {}
local known, entry, verify = {}, {}, {}

-- The context of one call.
function base.open(keys)
  local t = R('TIME')
  return {
    P = keys[1],
    sec = tonumber(t[1]),
    now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000),
    wakes = {}, -- volunteers for which there may be work
  }
end

-- The end of every call that may have made work or jobs.
function base.close(x)
  if x.wake then
    R('PUBLISH', x.P .. 'wake', 'w')
  else
    for id in pairs(x.wakes) do R('PUBLISH', x.P .. 'wake', 'v' .. id) end
  end
  if x.job then R('PUBLISH', x.P .. 'wake', 'j') end
end

-- The named fields of a hash, as a table; missing ones are false.
function base.load(key, ...)
  local names, t = {...}, {}
  local v = R('HMGET', key, ...)
  for i, name in ipairs(names) do t[name] = v[i] end
  return t
end

function base.hex(s)
  return (s:gsub('.', function(c) return string.format('%02x', c:byte()) end))
end

function base.unhex(s)
  return (s:gsub('..', function(h) return string.char(tonumber(h, 16)) end))
end

-- A length-prefixed string, for records that C reads.
function base.str(s)
  return struct.pack('<I4', #s) .. s
end

-- The policy of the calling process; the order is store.c's.
local POLICY = {
  'unit_ms', 'unit_seqs', 'units_held', 'first_new', 'max_new',
  'first_lease_ms', 'lease_ms', 'lease_factor', 'progress_ms',
  'referee_after_ms', 'sticky_ms', 'seen_ms', 'grace_ms', 'retake_ms',
  'keep_ms', 'seed_ms', 'trust_run', 'probation', 'window', 'strikes',
  'strike_ms', 'season', 'stage_ms', 'log_bytes',
  'known', 'new_free', 'new_accounts', 'new_volunteers', 'new_units',
  'entry_ms', 'entry_ban', 'entry_ban_ms', 'draw_least', 'season_lost',
  'season_banned', 'season_usual', 'season_rise', 'season_steep', 'settle_most',
  'settle_referee', 'rest_ms',
}

function base.policy(text)
  local p, i = {}, 1
  for n in text:gmatch('%d+') do
    p[POLICY[i]] = tonumber(n)
    i = i + 1
  end
  return p
end

function base.count(x, field, n)
  R('HINCRBY', x.P .. 'g', field, n)
end

-- A line in the ledger. kind: "unit", "work", "check", "lie" or "fault".
function base.ledger(x, account, kind, credit, tokens)
  R('XADD', x.P .. 'ledger', '*', 'a', account, 'k', kind, 'c',
    string.format('%.0f', credit or 0), 't', tokens or 0)
end
