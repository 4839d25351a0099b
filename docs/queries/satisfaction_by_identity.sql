-- Satisfaction and repeat contacts of customers we know, against those only known by one identifier.
SELECT identity_status,
       count(*) AS customers,
       sum(contacts) AS contacts,
       sum(repeat_contacts) AS repeat_contacts,
       sum(csat_count) AS scores,
       round(CAST(sum(csat_sum_bp) AS DOUBLE) / nullif(sum(csat_count), 0)) / 100 AS csat_percent
FROM gold.customer_360
GROUP BY identity_status
ORDER BY identity_status
