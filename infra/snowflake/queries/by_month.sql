-- Readings by month and kind of device.
SELECT period_reference, device_type, reading_unit, count(*) AS readings, count(DISTINCT device_id) AS devices,
       avg(reading_value) AS mean_value, min(reading_value) AS least_value, max(reading_value) AS greatest_value
FROM lean_ops.semantic.semantic_events
GROUP BY period_reference, device_type, reading_unit
ORDER BY period_reference, device_type, reading_unit;
