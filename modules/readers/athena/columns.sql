-- The columns of Curated, the newest first: what events said that they had not said before.
SELECT ordinal_position, column_name, data_type
FROM information_schema.columns
WHERE table_schema = '${database}' AND table_name = 'curated_${topic}'
ORDER BY ordinal_position DESC
