"""What a Redis server does in one step for an event log, in its language, Lua.

Numbers pass as text: as Lua's own they would lose digits on their way back. A server without
memory left refuses what adds to it, but what lets a reader go on and frees memory (``allow-oom``).
"""

from __future__ import annotations

MAKE = """
-- Make a log that is not there.
-- KEYS: meta; ARGV: its fields and values
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], unpack(ARGV))
end
"""

COMMIT = """
-- Append entries, unless the log or its clock moved on since it was read, or it is another's turn.
-- KEYS: meta, turn, mentions, labels, then the stream of each partition
-- ARGV: version, latest, token, latest afterwards, partitions that got entries, mentions, labels,
--       entries; then for each such partition: its number, its last position;
--       for each mention: id, keys; for each label: mention id, label and known_at;
--       for each entry: partition, position, roles, event
local meta, turn = KEYS[1], KEYS[2]
local found = redis.call('HMGET', meta, 'version', 'latest')
local whose = redis.call('GET', turn)
if found[1] ~= ARGV[1] or found[2] ~= ARGV[2] or (whose and whose ~= ARGV[3]) then
  return 0
end
redis.call('HINCRBY', meta, 'version', 1)
redis.call('HSET', meta, 'latest', ARGV[4])
local at = 9
for _ = 1, tonumber(ARGV[5]) do
  redis.call('HSET', meta, 'last:' .. ARGV[at], ARGV[at + 1])
  at = at + 2
end
for ledger = 3, 4 do
  for _ = 1, tonumber(ARGV[ledger + 3]) do
    redis.call('HSET', KEYS[ledger], ARGV[at], ARGV[at + 1])
    at = at + 2
  end
end
for _ = 1, tonumber(ARGV[8]) do
  local stream = KEYS[5 + tonumber(ARGV[at])]
  redis.call('XADD', stream, ARGV[at + 1] .. '-0', 'r', ARGV[at + 2], 'e', ARGV[at + 3])
  at = at + 4
end
if whose then
  redis.call('DEL', turn)
end
return 1
"""
"""1: appended, and a turn that was taken is given back; 0: nothing was done, read again."""

GIVE_BACK = """#!lua flags=allow-oom
-- End a turn, unless it is another's by now.
-- KEYS: turn; ARGV: token
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
"""

BEGIN = """
-- Put what history tells in place of the ledger, unless the log holds entries.
-- KEYS: meta, mentions, labels, new mentions, new labels
-- ARGV: latest afterwards, number of partitions
local entries = 0
for partition = 0, tonumber(ARGV[2]) - 1 do
  entries = entries + tonumber(redis.call('HGET', KEYS[1], 'last:' .. partition))
end
if entries > 0 then
  redis.call('UNLINK', KEYS[4], KEYS[5])
  return entries
end
for ledger = 2, 3 do
  redis.call('UNLINK', KEYS[ledger])
  if redis.call('EXISTS', KEYS[ledger + 2]) == 1 then
    redis.call('RENAME', KEYS[ledger + 2], KEYS[ledger])
  end
end
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], 'latest', ARGV[1])
return 0
"""
"""0: done; else the number of entries that the log holds."""

RAISE = """#!lua flags=allow-oom
-- Set a number of the log to at least a value.
-- KEYS: meta; ARGV: field, value
if tonumber(ARGV[2]) > tonumber(redis.call('HGET', KEYS[1], ARGV[1])) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
"""

TRIM = """#!lua flags=allow-oom
-- Forget the entries before a position.
-- KEYS: meta, the stream of the partition; ARGV: partition, position, the position before it
local field = 'trimmed:' .. ARGV[1]
if tonumber(ARGV[3]) > tonumber(redis.call('HGET', KEYS[1], field)) then
  redis.call('HSET', KEYS[1], field, ARGV[3])
  redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2] .. '-0')
end
"""
