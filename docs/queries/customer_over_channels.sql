-- The customer who came over most channels: the first four messages on each, in order, whatever they came in by.
WITH widest AS (
  SELECT customer_id
  FROM gold.customer_360
  WHERE channels >= 3 AND identity_status = 'linked'
  ORDER BY channels DESC, contacts DESC, customer_id
  LIMIT 1
), said AS (
  SELECT customer_id, occurred_at, channel, kind, sender_role, text, score, raw_topic, raw_partition, raw_offset
  FROM silver.interactions
  UNION ALL
  SELECT customer_id, occurred_at, channel, kind, sender_role, text, score, raw_topic, raw_partition, raw_offset
  FROM silver.feedback
), numbered AS (
  SELECT s.*,
         row_number() OVER (
           PARTITION BY s.channel ORDER BY s.occurred_at, s.raw_topic, s.raw_partition, s.raw_offset
         ) AS nth_of_channel
  FROM said s
  JOIN widest w ON w.customer_id = s.customer_id
)
SELECT customer_id, occurred_at, channel, kind, sender_role, text, score
FROM numbered
WHERE nth_of_channel <= 4
ORDER BY occurred_at, raw_topic, raw_partition, raw_offset
