-- What was first seen in the last 30 days that differs from the contracts, the newest first, and what to do.
SELECT publish_time AS first_seen, topic, kind, subject, detail
FROM ops_drift
WHERE publish_time >= current_timestamp - INTERVAL '30' DAY
ORDER BY first_seen DESC, topic, kind, subject
