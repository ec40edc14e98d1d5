"""What ``make check`` and the workflows run beside tests, each by ``python -m lean_ops.checks.NAME``.

terraform_check   all that can be proved of the Terraform code without an account
planned           what Terraform would create, through a mocked provider
plan_guard        a plan that would lose data is refused      plan_comment   a plan as a comment
contract_comment  what contracts would do to the rows of an environment, as a comment
unguarded         a copy without guards, to destroy dev       module_pages   the pages of the modules
advisories        whether an advisory concerns a locked dependency
"""
