-- Of each hour in which events were received in the last 7 days, what the last look found; what is wrong first.
SELECT topic, received_hour, max(publish_time) AS looked_at, max_by(events, publish_time) AS events,
       max_by(waiting, publish_time) AS waiting, max_by(unpublished, publish_time) AS unpublished,
       max_by(refused, publish_time) AS refused, max_by(set_aside, publish_time) AS set_aside,
       max_by(wrong, publish_time) AS wrong
FROM ops_reconciliation
WHERE received_hour >= current_timestamp - INTERVAL '7' DAY
GROUP BY topic, received_hour
ORDER BY wrong DESC, received_hour DESC, topic
