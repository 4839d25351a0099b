-- What do customers ask most, on the newest day that has questions?
SELECT question_rank,
       question,
       askers,
       questions,
       round(1000 * CAST(questions AS DOUBLE) / period_questions) / 10 AS share_percent,
       top_channel
FROM gold.hot_questions
WHERE period_type = 'day'
  AND period_start_date = (SELECT max(period_start_date) FROM gold.hot_questions WHERE period_type = 'day')
ORDER BY question_rank
LIMIT 10
