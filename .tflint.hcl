# The AWS rule set of tflint is not used: it is a binary of its own that its release page alone carries.
# What it would find in names and values is asserted by tests instead (tests/*.tftest.hcl).
plugin "terraform" {
  enabled = true
  preset  = "all"
}

# Every module lists its files by behaviour (queues.tf, delivery.tf), which the standard structure does not know.
rule "terraform_standard_module_structure" {
  enabled = false
}
