-- The last checks in front of each gold table: what failed, on how many rows, and was it published?
WITH newest AS (
  SELECT table_name, max(checked_at) AS checked_at
  FROM gold.quality_results
  GROUP BY table_name
)
SELECT r.table_name,
       count(*) AS checks,
       sum(CASE WHEN r.passed THEN 0 ELSE 1 END) AS failed,
       max(r.checked_rows) AS checked_rows,
       sum(r.bad_rows) AS bad_rows,
       bool_and(r.published) AS published
FROM gold.quality_results r
JOIN newest n ON n.table_name = r.table_name AND n.checked_at = r.checked_at
GROUP BY r.table_name
ORDER BY r.table_name
