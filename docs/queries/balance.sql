-- Does every raw message stand in exactly one output? Anything but 0 in the last three columns is an alert.
SELECT raw_topic,
       sum(received) AS received,
       sum(kept) AS kept,
       sum(rejected) AS rejected,
       sum(in_review) AS in_review,
       sum(duplicate) AS duplicate,
       sum(missing) AS missing,
       sum(twice) AS twice,
       sum(unknown) AS unknown
FROM gold.data_balance
GROUP BY raw_topic
ORDER BY raw_topic
