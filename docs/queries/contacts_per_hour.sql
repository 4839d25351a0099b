-- When do customers come? First message of each session, or lone message, per hour of the day in China.
WITH firsts AS (
  SELECT channel, coalesce(session_id, event_id) AS contact, min(occurred_at) AS began_at
  FROM silver.interactions
  WHERE sender_role = 'customer' AND kind IN ('message', 'consultation')
  GROUP BY channel, coalesce(session_id, event_id)
)
SELECT extract(hour FROM began_at AT TIME ZONE 'Asia/Shanghai') AS hour_of_day,
       count(*) AS contacts,
       count(DISTINCT channel) AS channels
FROM firsts
GROUP BY extract(hour FROM began_at AT TIME ZONE 'Asia/Shanghai')
ORDER BY hour_of_day
