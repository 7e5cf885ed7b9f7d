"""Policies of others: whatever maps observations to logits becomes a `Policy`."""

from marlrobust.policies.adapters.adapt import as_policy, policy_for

__all__ = ["as_policy", "policy_for"]
