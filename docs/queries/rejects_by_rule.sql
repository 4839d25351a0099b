-- What was turned away, why, and how many bytes are kept of it?
SELECT channel, rule, count(*) AS messages, sum(payload_bytes) AS bytes, max(received_at) AS newest_at
FROM quarantine.rejects
GROUP BY channel, rule
ORDER BY messages DESC, channel, rule
