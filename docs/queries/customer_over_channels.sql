-- The customer who came over most channels: every contact in order, whatever it came in by.
WITH widest AS (
  SELECT customer_id
  FROM gold.customer_360
  WHERE channels >= 3
  ORDER BY channels DESC, contacts DESC, customer_id
  LIMIT 1
), said AS (
  SELECT customer_id, occurred_at, channel, kind, sender_role, text, score, raw_topic, raw_partition, raw_offset
  FROM silver.interactions
  UNION ALL
  SELECT customer_id, occurred_at, channel, kind, sender_role, text, score, raw_topic, raw_partition, raw_offset
  FROM silver.feedback
)
SELECT s.customer_id, s.occurred_at, s.channel, s.kind, s.sender_role, s.text, s.score
FROM said s
JOIN widest w ON w.customer_id = s.customer_id
ORDER BY s.occurred_at, s.raw_topic, s.raw_partition, s.raw_offset
LIMIT 50
