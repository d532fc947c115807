"""The commands of ``scot`` for services, stores, registries and clusters."""
