-- known.lua - work whose answer the referee has computed. Now and then a
-- volunteer is given such a line among its new ones. Nothing in the frame tells it
-- from them: neither its id (sequence.alias) nor its place among them, and no
-- account is given what it had before. A wrong answer is a lost dispute. It
-- belongs to no batch that anyone can list, and goes when its volunteer does.
--   ka:<m>   list of packed {prompt, max_tokens, sampling, biases, stop ids,
--            ignores ends, tokens, map of the accounts that had it}
--   kn       in the hash of such a sequence: the tokens that are right
local BATCH, RING, BYTES, TTL_S = 'known', 64, 262144, 7 * 86400
local USES = 256 -- accounts that have had one; then it goes

local function ring(x, m) return x.P .. 'ka:' .. m end

function known.is(s) return s.b == BATCH end

-- The referee has found sequence sid right.
function known.keep(x, sid)
  local s = base.load(sequence.key(x, sid), 'm', 'p', 'mt', 'sm', 'bi', 'sp', 'ie',
                      'o', 'sx', 'sn', 'bad', 'cw', 'ck')
  if s.sx ~= '' or #s.p + #s.o > BYTES then return end
  local key = ring(x, s.m)
  R('LPUSH', key, cmsgpack.pack({s.p, s.mt, s.sm, s.bi, s.sp, s.ie, s.o,
                                 place.involved(s)}))
  R('LTRIM', key, 0, RING - 1)
  R('EXPIRE', key, TTL_S)
end

-- One that account a did not have, from number pick on; it has it now. nil: none.
local function pick_for(x, m, a, pick)
  local key = ring(x, m)
  local n = R('LLEN', key)
  for i = 0, n - 1 do
    local at = (pick + i) % n
    local t = cmsgpack.unpack(R('LINDEX', key, at))
    if not t[8][a] then
      local uses = 0
      for _ in pairs(t[8]) do uses = uses + 1 end
      t[8][a] = true
      R('LSET', key, at, uses < USES and cmsgpack.pack(t) or '')
      if uses >= USES then R('LREM', key, 1, '') end
      return t
    end
  end
end

-- The place, from 0, of one that random gave, among n.
function known.place(random, n)
  local pick = struct.unpack('<I4', random, 5)
  return math.floor(pick / RING) % n
end

-- Is it time for one, for a volunteer of account a? random: 64 bits that nobody
-- outside knows. Returns the id of a sequence that is ready, in no queue, or nil.
function known.draw(x, p, m, a, random)
  local chance, pick = struct.unpack('<I4I4', random)
  if chance % 1000000 >= p.known then return nil end
  local t = pick_for(x, m, a, pick)
  if not t then return nil end
  local sid = batch.request(x, BATCH, {
    0, '', '', base.unhex(m), t[1], t[2], t[3], '', t[4], t[5], '', '', t[6],
  }, 1, {key = BATCH, priority = 1}, false)
  R('HDEL', x.P .. 'q:' .. m .. ':t', 'b' .. BATCH) -- owes nothing
  fair.drop(x, 'q:' .. m, sid)
  R('HSET', sequence.key(x, sid), 'kn', t[7])
  R('EXPIRE', batch.key(x, BATCH), TTL_S)
  return sid
end

-- Out of the store.
function known.drop(x, sid)
  sequence.forget(x, sid, base.load(sequence.key(x, sid), 'b', 'm', 'st', 'own',
                                    'sn'))
end

-- It is finished. Returns the account that was wrong, or nil.
function known.ended(x, sid)
  local s = base.load(sequence.key(x, sid), 'm', 'o', 'kn', 'sn', 'np')
  local m = base.load(x.P .. 'm:' .. s.m, 'cr', 'span', 'crs')
  local wrong
  base.count(x, 'known', 1)
  for _, t in ipairs(cmsgpack.unpack(s.sn)) do
    if s.o == s.kn then
      base.ledger(x, t[2], 'work', sequence.worth(s, t, m))
      R('HINCRBY', x.P .. 'acct:' .. t[2], 'run', 1)
    else
      wrong = t[2]
    end
  end
  known.drop(x, sid)
  return wrong
end
