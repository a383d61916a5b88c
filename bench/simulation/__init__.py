"""A fleet in virtual time: the real take loop and promoter over a model of ZooKeeper."""
