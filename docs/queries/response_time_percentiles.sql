-- Median and 95th percentile of the response time per channel, after outlier treatment.
-- Nearest rank: the value at place ceil(p * n). Both engines give the same row; their own percentile functions don't.
WITH ranked AS (
  SELECT channel,
         response_time_corrected_s,
         row_number() OVER (PARTITION BY channel ORDER BY response_time_corrected_s) AS place,
         count(*) OVER (PARTITION BY channel) AS n
  FROM silver.interactions
  WHERE response_time_corrected_s IS NOT NULL
)
SELECT channel,
       max(n) AS response_times,
       max(CASE WHEN place = CAST(ceil(0.50 * n) AS BIGINT) THEN response_time_corrected_s END) AS median_s,
       max(CASE WHEN place = CAST(ceil(0.95 * n) AS BIGINT) THEN response_time_corrected_s END) AS p95_s
FROM ranked
GROUP BY channel
ORDER BY channel
