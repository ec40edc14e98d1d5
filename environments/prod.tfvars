environment         = "prod"
region              = "eu-west-1"
batch_size          = 5000
maximum_concurrency = 50
log_retention_days  = 400
monthly_budget_usd  = 500
