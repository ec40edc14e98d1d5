environment         = "staging"
region              = "eu-west-1"
maximum_concurrency = 10
log_retention_days  = 365
monthly_budget_usd  = 50
