-- Rows that wait in Quarantine, by the column and the rule of the contract that they break.
SELECT json_extract_scalar(reason, '$.column') AS column_name, json_extract_scalar(reason, '$.rule') AS rule,
       count(*) AS row_count, max(waiting.publish_time) AS newest_published
FROM quarantine_${topic} waiting
LEFT JOIN semantic_${topic} settled
    ON settled.idempotency_key = waiting.idempotency_key
    AND settled._source_merge_seq >= waiting._source_merge_seq
CROSS JOIN UNNEST(CAST(json_parse(waiting.reasons) AS array(json))) AS reasons (reason)
WHERE settled.idempotency_key IS NULL
GROUP BY 1, 2
ORDER BY row_count DESC, column_name, rule
