"""The executor: takes jobs off the queue and runs their actions in a pool of greenlets."""
