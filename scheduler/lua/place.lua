-- place.lua - who checks what. A checker has another account than those who made
-- the line; it should have trust, or at least they, be in another address block,
-- and preferably have other hardware. Where a referee is online it takes what
-- suits nobody at once, and what nobody took in time: no check waits for a fit.
local LOOK = 100 -- accounts online that are looked at

-- The accounts that computed a sequence (of one over several volunteers: the
-- rows of the stage that ends at s.e), or were wrong about it.
function place.involved(s)
  local set = cmsgpack.unpack(s.bad)
  for _, a in ipairs(trust.makers(s.sn, s.e, s.last)) do
    set[trust.account(a)] = true
  end
  if s.cw and s.cw ~= '' then set[cmsgpack.unpack(s.cw)[2]] = true end
  if s.ck and s.ck ~= '' then
    for _, c in ipairs(cmsgpack.unpack(s.ck)) do set[c[2]] = true end
  end
  return set
end

-- How many accounts online are not in set.
function place.others(x, set)
  local n = R('HLEN', x.P .. 'oa')
  for a in pairs(set) do n = n - R('HEXISTS', x.P .. 'oa', a) end
  return n
end

-- Trust and address block of an account, looked up once a take (c).
local function about(x, c, a)
  c.about = c.about or {}
  if not c.about[a] then
    c.about[a] = {trusted = trust.trusted(x, c.p, a),
                  block = R('HGET', x.P .. 'acct:' .. trust.account(a),
                             'blk') or ''}
  end
  return c.about[a]
end

-- How well someone suits as checker of these accounts: 2 trusted, 1 a newcomer,
-- but they are trusted, 0 not: two newcomers, or in the same block.
local function suits(x, c, who, makers)
  local all = true
  for _, a in ipairs(makers) do
    local m = about(x, c, a)
    if m.block ~= '' and m.block == who.block then return 0 end
    all = all and m.trusted
  end
  return who.trusted and 2 or all and 1 or 0
end

-- How well the best of those online (c.online, if only they count) suits for s
-- (sn, bad, ck, cw, av, avt). Who could not do it just now does not count.
function place.best(x, c, s)
  local makers, set, best = trust.makers(s.sn, s.e, s.last), place.involved(s), 0
  if s.av ~= '' and sequence.avoids(x, s, s.av) then
    set[R('HGET', volunteer.key(x, s.av), 'a') or ''] = true
  end
  c.online = c.online or R('HRANDFIELD', x.P .. 'oa', LOOK)
  for _, a in ipairs(c.online) do
    if not set[a] then
      best = math.max(best, suits(x, c, about(x, c, a), makers))
      if best == 2 then return best end
    end
  end
  return best
end

-- Is one of c.online trusted who had no part in s?
function place.any_trusted(x, c, s)
  local set = place.involved(s)
  for _, a in ipairs(c.online) do
    if not set[a] and about(x, c, a).trusted then return true end
  end
  return false
end

-- Should the caller of this take check s? nil: it must not, its account had a
-- part in it; false: it does not suit, or somebody else online does better; true.
-- Then also whether its hardware is another.
function place.fits(x, c, s)
  if place.involved(s)[c.v.a] then return nil end
  local me = {trusted = c.trusted, block = c.v.block or ''}
  local level = suits(x, c, me, trust.makers(s.sn, s.e, s.last))
  if level == 0 or level == 1 and place.best(x, c, s) == 2 then return false end
  local other = true
  for _, t in ipairs(cmsgpack.unpack(s.sn)) do
    local its = not s.e or t[8] == s.e
    other = other and not (its and t[4] == c.v.be)
  end
  return true, other
end
