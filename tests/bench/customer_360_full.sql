-- gold.customer_360 as one statement over the whole of silver: what an engineer writes first, and the peer of the build.
-- Parameters: as_of_at, contact_days, value_days, gap_s, repeat_days. Identifiers decide in the order of policy identity;
-- the rule that two typed ones must agree is left out (the peer does less).
WITH rows AS (
  SELECT raw_topic, raw_partition, raw_offset, attempt, event_id, channel, account, source_message_id, source_revision, kind,
         sender_role, session_id, customer_id, identity_status, occurred_at, received_at, response_time_corrected_s,
         score_scale_max, score_corrected, outcome, unionid_token, external_userid_token, openid_token, user_handle_token,
         phone_token, member_token, email_token, first_topic, first_partition, first_offset
  FROM interactions
  UNION ALL
  SELECT raw_topic, raw_partition, raw_offset, attempt, event_id, channel, account, source_message_id, source_revision, kind,
         sender_role, session_id, customer_id, identity_status, occurred_at, received_at, response_time_corrected_s,
         score_scale_max, score_corrected, outcome, unionid_token, external_userid_token, openid_token, user_handle_token,
         phone_token, member_token, email_token, first_topic, first_partition, first_offset
  FROM feedback
), newest AS (
  SELECT * FROM (
    SELECT *, row_number() OVER (
      PARTITION BY channel, account, coalesce(concat('id=', source_message_id), concat_ws('/', coalesce(first_topic, raw_topic),
        coalesce(first_partition, raw_partition), coalesce(first_offset, raw_offset)))
      ORDER BY source_revision DESC, attempt DESC, received_at DESC, raw_topic, raw_partition, raw_offset) AS nth
    FROM rows)
  WHERE nth = 1
), current_links AS (
  SELECT token, valid_from_at, valid_to_at, customer_id AS linked_id FROM (
    SELECT *, rank() OVER (PARTITION BY token ORDER BY recorded_at DESC) AS nth FROM links)
  WHERE nth = 1
), held AS (
  SELECT raw_topic, raw_partition, raw_offset, occurred_at, rank, token
  FROM newest LATERAL VIEW posexplode(array(unionid_token, external_userid_token, openid_token, user_handle_token,
    phone_token, member_token, email_token)) AS rank, token
  WHERE token IS NOT NULL
), owner AS (
  SELECT raw_topic, raw_partition, raw_offset, min_by(linked_id, rank) AS linked_id
  FROM held JOIN current_links USING (token)
  WHERE occurred_at >= valid_from_at AND (valid_to_at IS NULL OR occurred_at < valid_to_at)
  GROUP BY raw_topic, raw_partition, raw_offset
), known AS (
  SELECT * FROM (
    SELECT newest.* EXCEPT (customer_id, identity_status), coalesce(linked_id, customer_id) AS customer_id,
           CASE WHEN linked_id IS NOT NULL THEN 'linked' ELSE identity_status END AS identity_status
    FROM newest LEFT JOIN owner USING (raw_topic, raw_partition, raw_offset))
  WHERE customer_id IS NOT NULL AND occurred_at < :as_of_at
), spoken AS (
  SELECT * FROM known WHERE sender_role = 'customer' AND kind IN ('message', 'consultation', 'feedback', 'complaint')
), gaps AS (
  SELECT *, CASE WHEN session_id IS NULL AND kind = 'message' THEN coalesce(occurred_at > lag(occurred_at) OVER w
           + make_interval(0, 0, 0, 0, 0, 0, :gap_s), true) END AS opens
  FROM spoken
  WINDOW w AS (PARTITION BY customer_id, channel, account, session_id IS NULL AND kind = 'message'
               ORDER BY occurred_at, raw_topic, raw_partition, raw_offset)
), keyed AS (
  SELECT *, CASE WHEN session_id IS NOT NULL THEN concat('s=', session_id)
                 WHEN kind <> 'message' THEN concat('e=', event_id)
                 ELSE concat('g=', sum(CAST(opens AS INT)) OVER (
                   PARTITION BY customer_id, channel, account, session_id IS NULL AND kind = 'message'
                   ORDER BY occurred_at, raw_topic, raw_partition, raw_offset)) END AS contact
  FROM gaps
), contacts AS (
  SELECT customer_id, channel, min(occurred_at) AS started_at, max(occurred_at) AS ended_at
  FROM keyed GROUP BY customer_id, channel, account, contact
), repeated AS (
  SELECT *, coalesce(started_at <= max(ended_at) OVER (PARTITION BY customer_id ORDER BY started_at, ended_at, channel
           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + make_interval(0, 0, 0, :repeat_days), false) AS is_repeat
  FROM contacts
), contact_figures AS (
  SELECT customer_id, min(started_at) AS first_contact_at, max(ended_at) AS last_contact_at,
         max_by(channel, struct(ended_at, channel)) AS last_channel, count(DISTINCT channel) AS channels,
         count(*) AS contacts, count_if(channel = 'phone') AS contacts_phone, count_if(channel = 'app') AS contacts_app,
         count_if(channel = 'mini_program') AS contacts_mini_program, count_if(channel = 'wechat') AS contacts_wechat,
         count_if(channel = 'wecom') AS contacts_wecom, count_if(channel = 'web_chat') AS contacts_web_chat,
         count_if(channel = 'email') AS contacts_email, count_if(channel = 'social') AS contacts_social,
         count_if(channel = 'live_video') AS contacts_live_video, count_if(channel = 'sms') AS contacts_sms,
         count_if(channel = 'store') AS contacts_store, count_if(channel = 'service_center') AS contacts_service_center,
         count_if(channel = 'complaint_site') AS contacts_complaint_site,
         count_if(started_at >= :as_of_at - make_interval(0, 0, 0, :contact_days)) AS contacts_in_window,
         count_if(is_repeat) AS repeat_contacts
  FROM repeated GROUP BY customer_id
), preferred AS (
  SELECT customer_id, max_by(channel, struct(n, newest, channel)) AS preferred_channel
  FROM (SELECT customer_id, channel, count(*) AS n, max(ended_at) AS newest FROM repeated
        WHERE started_at >= :as_of_at - make_interval(0, 0, 0, :contact_days) GROUP BY customer_id, channel)
  GROUP BY customer_id
), spoken_figures AS (
  SELECT customer_id, count(*) AS customer_messages,
         count(DISTINCT CASE WHEN session_id IS NOT NULL THEN struct(channel, account, session_id) END) AS sessions,
         count_if(kind = 'consultation') AS consultations, count_if(kind = 'complaint') AS complaints,
         count_if(kind = 'feedback') AS feedbacks,
         max(CASE WHEN kind = 'consultation' THEN occurred_at END) AS last_consultation_at,
         max(CASE WHEN kind = 'complaint' THEN occurred_at END) AS last_complaint_at,
         max(CASE WHEN kind = 'feedback' THEN occurred_at END) AS last_feedback_at
  FROM spoken GROUP BY customer_id
), measures AS (
  SELECT customer_id,
         max_by(outcome, CASE WHEN outcome IS NOT NULL THEN struct(occurred_at, raw_topic, raw_partition, raw_offset) END)
           AS last_outcome,
         count(CASE WHEN score_scale_max > 0 THEN score_corrected END) AS csat_count,
         sum(CAST(CASE WHEN score_scale_max > 0 THEN round(score_corrected / score_scale_max * 10000) END AS BIGINT))
           AS csat_sum_bp,
         count(response_time_corrected_s) AS response_count,
         sum(CAST(round(response_time_corrected_s * 1000) AS BIGINT)) AS response_sum_ms
  FROM known GROUP BY customer_id
), records AS (
  SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY record_key ORDER BY updated_at DESC, source_revision DESC,
                   attempt DESC, received_at DESC, raw_topic, raw_partition, raw_offset) AS nth
                 FROM customers WHERE occurred_at < :as_of_at)
  WHERE nth = 1 AND crm_status <> 'deleted'
), records_owned AS (
  SELECT records.* EXCEPT (customer_id, identity_status), coalesce(m.linked_id, p.linked_id, customer_id) AS customer_id,
         CASE WHEN coalesce(m.linked_id, p.linked_id) IS NOT NULL THEN 'linked' ELSE identity_status END AS identity_status
  FROM records LEFT JOIN current_links p ON p.token = CASE WHEN phone_verified THEN phone_token END
    AND occurred_at >= p.valid_from_at AND (p.valid_to_at IS NULL OR occurred_at < p.valid_to_at)
  LEFT JOIN current_links m ON m.token = member_token
    AND occurred_at >= m.valid_from_at AND (m.valid_to_at IS NULL OR occurred_at < m.valid_to_at)
), base AS (
  SELECT customer_id, min(identity_status) AS identity_status,
         max_by(region, struct(updated_at, record_key)) FILTER (WHERE region IS NOT NULL) AS region,
         max_by(birth_year, struct(updated_at, record_key)) FILTER (WHERE birth_year IS NOT NULL) AS birth_year,
         max_by(gender, struct(updated_at, record_key)) FILTER (WHERE gender IS NOT NULL) AS gender,
         max_by(member_level, struct(updated_at, record_key)) FILTER (WHERE member_level IS NOT NULL) AS member_level,
         max_by(crm_status, struct(updated_at, record_key)) AS crm_status, min(registered_at) AS registered_at,
         max_by(consent_marketing, struct(coalesce(consent_marketing_at, updated_at), NOT consent_marketing))
           FILTER (WHERE consent_marketing IS NOT NULL) AS consent_marketing,
         max(coalesce(consent_marketing_at, updated_at)) FILTER (WHERE consent_marketing IS NOT NULL)
           AS consent_marketing_at,
         max_by(consent_profiling, struct(coalesce(consent_profiling_at, updated_at), NOT consent_profiling))
           FILTER (WHERE consent_profiling IS NOT NULL) AS consent_profiling,
         max(coalesce(consent_profiling_at, updated_at)) FILTER (WHERE consent_profiling IS NOT NULL)
           AS consent_profiling_at,
         max_by(consent_recorded_calls, struct(coalesce(consent_recorded_calls_at, updated_at), NOT consent_recorded_calls))
           FILTER (WHERE consent_recorded_calls IS NOT NULL) AS consent_recorded_calls,
         max(coalesce(consent_recorded_calls_at, updated_at)) FILTER (WHERE consent_recorded_calls IS NOT NULL)
           AS consent_recorded_calls_at
  FROM records_owned WHERE customer_id IS NOT NULL GROUP BY customer_id
), current_orders AS (
  SELECT o.* EXCEPT (customer_id, identity_status), coalesce(m.linked_id, customer_id) AS customer_id,
         CASE WHEN m.linked_id IS NOT NULL THEN 'linked' ELSE identity_status END AS identity_status
  FROM (SELECT *, row_number() OVER (PARTITION BY account, order_id ORDER BY updated_at DESC, source_revision DESC,
          attempt DESC, received_at DESC, raw_topic, raw_partition, raw_offset) AS nth
        FROM orders WHERE occurred_at < :as_of_at) o
  LEFT JOIN current_links m ON m.token = member_token
    AND occurred_at >= m.valid_from_at AND (m.valid_to_at IS NULL OR occurred_at < m.valid_to_at)
  WHERE nth = 1
), paid AS (
  SELECT customer_id, currency, amount_minor - refunded_minor AS amount, paid_at,
         paid_at >= :as_of_at - make_interval(0, 0, 0, :value_days) AS inside
  FROM current_orders
  WHERE paid_at < :as_of_at AND order_status <> 'cancelled' AND amount_minor - refunded_minor > 0 AND customer_id IS NOT NULL
), bought AS (
  SELECT customer_id, max(CASE WHEN inside AND currency = 'CNY' THEN paid_at END) AS last_paid_at,
         count_if(inside AND currency = 'CNY') AS frequency,
         coalesce(sum(CASE WHEN inside AND currency = 'CNY' THEN amount END), 0) AS monetary_minor,
         count_if(inside AND currency <> 'CNY') AS other_currency_orders
  FROM paid GROUP BY customer_id
), valued AS (
  SELECT *, CAST(floor((unix_micros(:as_of_at) - unix_micros(last_paid_at)) / 86400000000) AS INT) AS recency_days FROM bought
), cuts AS (
  SELECT percentile_disc(0.2) WITHIN GROUP (ORDER BY recency_days DESC) AS r1,
         percentile_disc(0.4) WITHIN GROUP (ORDER BY recency_days DESC) AS r2,
         percentile_disc(0.6) WITHIN GROUP (ORDER BY recency_days DESC) AS r3,
         percentile_disc(0.8) WITHIN GROUP (ORDER BY recency_days DESC) AS r4,
         percentile_disc(0.2) WITHIN GROUP (ORDER BY frequency) AS f1, percentile_disc(0.4) WITHIN GROUP (ORDER BY frequency) AS f2,
         percentile_disc(0.6) WITHIN GROUP (ORDER BY frequency) AS f3, percentile_disc(0.8) WITHIN GROUP (ORDER BY frequency) AS f4,
         percentile_disc(0.2) WITHIN GROUP (ORDER BY monetary_minor) AS m1,
         percentile_disc(0.4) WITHIN GROUP (ORDER BY monetary_minor) AS m2,
         percentile_disc(0.6) WITHIN GROUP (ORDER BY monetary_minor) AS m3,
         percentile_disc(0.8) WITHIN GROUP (ORDER BY monetary_minor) AS m4
  FROM valued WHERE frequency > 0
), scored AS (
  SELECT valued.*,
    CASE WHEN frequency > 0 THEN 1 + CAST(recency_days < r1 AS INT) + CAST(recency_days < r2 AS INT)
      + CAST(recency_days < r3 AS INT) + CAST(recency_days < r4 AS INT) END AS r_score,
    CASE WHEN frequency > 0 THEN 1 + CAST(frequency > f1 AS INT) + CAST(frequency > f2 AS INT)
      + CAST(frequency > f3 AS INT) + CAST(frequency > f4 AS INT) END AS f_score,
    CASE WHEN frequency > 0 THEN 1 + CAST(monetary_minor > m1 AS INT) + CAST(monetary_minor > m2 AS INT)
      + CAST(monetary_minor > m3 AS INT) + CAST(monetary_minor > m4 AS INT) END AS m_score
  FROM valued CROSS JOIN cuts
), tiered AS (
  SELECT *, 'CNY' AS currency,
    CASE WHEN frequency = 0 AND other_currency_orders > 0 THEN 'unclassified' WHEN frequency = 0 THEN 'lapsed'
         WHEN m_score >= 5 OR (m_score >= 4 AND f_score >= 5) THEN 'high'
         WHEN m_score >= 3 OR f_score >= 4 THEN 'middle' ELSE 'low' END AS value_tier
  FROM scored
), everybody AS (
  SELECT customer_id, CASE WHEN bool_or(identity_status = 'linked') THEN 'linked' ELSE 'provisional' END AS identity_status
  FROM (SELECT customer_id, identity_status FROM known
        UNION ALL SELECT customer_id, identity_status FROM base
        UNION ALL SELECT customer_id, identity_status FROM current_orders WHERE customer_id IS NOT NULL)
  GROUP BY customer_id
)
SELECT everybody.customer_id, everybody.identity_status, :as_of_at AS as_of_at,
       first_contact_at, last_contact_at, last_channel, last_outcome, preferred_channel, coalesce(channels, 0) AS channels,
       coalesce(contacts, 0) AS contacts, coalesce(contacts_phone, 0) AS contacts_phone,
       coalesce(contacts_app, 0) AS contacts_app, coalesce(contacts_mini_program, 0) AS contacts_mini_program,
       coalesce(contacts_wechat, 0) AS contacts_wechat, coalesce(contacts_wecom, 0) AS contacts_wecom,
       coalesce(contacts_web_chat, 0) AS contacts_web_chat, coalesce(contacts_email, 0) AS contacts_email,
       coalesce(contacts_social, 0) AS contacts_social, coalesce(contacts_live_video, 0) AS contacts_live_video,
       coalesce(contacts_sms, 0) AS contacts_sms, coalesce(contacts_store, 0) AS contacts_store,
       coalesce(contacts_service_center, 0) AS contacts_service_center,
       coalesce(contacts_complaint_site, 0) AS contacts_complaint_site,
       coalesce(contacts_in_window, 0) AS contacts_in_window, coalesce(repeat_contacts, 0) AS repeat_contacts,
       coalesce(customer_messages, 0) AS customer_messages, coalesce(sessions, 0) AS sessions,
       coalesce(consultations, 0) AS consultations, coalesce(complaints, 0) AS complaints, coalesce(feedbacks, 0) AS feedbacks,
       last_consultation_at, last_complaint_at, last_feedback_at,
       coalesce(csat_count, 0) AS csat_count, coalesce(csat_sum_bp, 0) AS csat_sum_bp,
       coalesce(response_count, 0) AS response_count, coalesce(response_sum_ms, 0) AS response_sum_ms,
       region, birth_year, gender, member_level, crm_status, registered_at, consent_marketing, consent_marketing_at,
       consent_profiling, consent_profiling_at, consent_recorded_calls, consent_recorded_calls_at,
       last_paid_at, recency_days, coalesce(frequency, 0) AS frequency, coalesce(monetary_minor, 0) AS monetary_minor, currency,
       coalesce(other_currency_orders, 0) AS other_currency_orders, r_score, f_score, m_score, value_tier
FROM everybody
LEFT JOIN measures USING (customer_id) LEFT JOIN spoken_figures USING (customer_id)
LEFT JOIN contact_figures USING (customer_id) LEFT JOIN preferred USING (customer_id)
LEFT JOIN base USING (customer_id) LEFT JOIN tiered USING (customer_id)
