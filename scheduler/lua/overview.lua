-- overview.lua - what only the operator sees: everybody's batches that are under
-- way, and the last lies.

-- The ledger is looked at from its end, at most LOOKS times LOOK entries.
local LOOK, LOOKS = 200, 20

-- The last lies, at most n: time (ms), account, its name, "1" if it is banned.
local function lies(x, n)
  local out, at = {}, '+'
  for _ = 1, LOOKS do
    local entries = R('XREVRANGE', x.P .. 'ledger', at, '-', 'COUNT', LOOK)
    for _, entry in ipairs(entries) do
      local e = {}
      for i = 1, #entry[2], 2 do e[entry[2][i]] = entry[2][i + 1] end
      if e.k == 'lie' and #out < n * 4 then
        local a = base.load(x.P .. 'acct:' .. e.a, 'name', 'ban')
        for _, value in ipairs({entry[1]:match('%d+'), e.a:sub(1, 8),
                                a.name or '', a.ban or '0'}) do
          table.insert(out, value)
        end
      end
      at = '(' .. entry[1]
    end
    if #entries < LOOK or #out == n * 4 then break end
  end
  return out
end

-- overview: ARGV 1 how many batches, at most 2 how many lies
-- Returns {how many batches are under way, those whose window ends first as
-- batch_list has them, the last lies}.
local function overview(keys, args)
  local x, batches = base.open(keys), {}
  local open = x.P .. 'expiring'
  for _, id in ipairs(R('ZRANGE', open, 0, args[1] - 1)) do
    table.insert(batches, batch.show(x, id, ''))
  end
  return {R('ZCARD', open), batches, lies(x, tonumber(args[2]))}
end

redis.register_function('@V@_overview', overview)
