-- The newest reading of every device.
SELECT device_id, device_type, reading_value, reading_unit, publish_time
FROM lean_ops.semantic.semantic_events
QUALIFY row_number() OVER (PARTITION BY device_id ORDER BY publish_time DESC, idempotency_key) = 1
ORDER BY device_id;
