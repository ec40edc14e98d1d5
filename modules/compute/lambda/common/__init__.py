"""The shared package of all Lambda functions: one module per noun of the domain (docs/architecture.md)."""
