"""How bytes move: the protocols, the memory transport and RabbitMQ."""
