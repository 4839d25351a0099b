-- How many contacts came on which channel, and for how many customers is it the preferred one?
WITH channel_contacts AS (
  SELECT 'phone' AS channel, sum(contacts_phone) AS contacts FROM gold.customer_360
  UNION ALL SELECT 'app', sum(contacts_app) FROM gold.customer_360
  UNION ALL SELECT 'mini_program', sum(contacts_mini_program) FROM gold.customer_360
  UNION ALL SELECT 'wechat', sum(contacts_wechat) FROM gold.customer_360
  UNION ALL SELECT 'wecom', sum(contacts_wecom) FROM gold.customer_360
  UNION ALL SELECT 'web_chat', sum(contacts_web_chat) FROM gold.customer_360
  UNION ALL SELECT 'email', sum(contacts_email) FROM gold.customer_360
  UNION ALL SELECT 'social', sum(contacts_social) FROM gold.customer_360
  UNION ALL SELECT 'live_video', sum(contacts_live_video) FROM gold.customer_360
  UNION ALL SELECT 'sms', sum(contacts_sms) FROM gold.customer_360
  UNION ALL SELECT 'store', sum(contacts_store) FROM gold.customer_360
  UNION ALL SELECT 'service_center', sum(contacts_service_center) FROM gold.customer_360
  UNION ALL SELECT 'complaint_site', sum(contacts_complaint_site) FROM gold.customer_360
), preferences AS (
  SELECT preferred_channel AS channel, count(*) AS customers
  FROM gold.customer_360
  WHERE preferred_channel IS NOT NULL
  GROUP BY preferred_channel
)
SELECT c.channel, c.contacts, coalesce(p.customers, 0) AS preferred_by_customers
FROM channel_contacts c
LEFT JOIN preferences p ON p.channel = c.channel
ORDER BY c.contacts DESC, c.channel
