# One instance; infra/postgres-roles.sh gives each service a role and a database of its own on it (see README.md).
resource "aws_security_group" "database" {
  count       = var.create_database ? 1 : 0
  name        = "${var.name}-database"
  description = "The database of ${var.name}"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  count                        = var.create_database ? 1 : 0
  security_group_id            = aws_security_group.database[0].id
  referenced_security_group_id = aws_security_group.services.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_db_subnet_group" "this" {
  count      = var.create_database ? 1 : 0
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_db_instance" "this" {
  count          = var.create_database ? 1 : 0
  identifier     = var.name
  engine         = "postgres"
  engine_version = "17"
  instance_class = var.database_class

  allocated_storage     = 20
  max_allocated_storage = 200
  storage_encrypted     = true

  username = "postgres"
  # RDS makes the password and keeps it in Secrets Manager: it is in no state file.
  manage_master_user_password = true

  db_subnet_group_name      = aws_db_subnet_group.this[0].name
  vpc_security_group_ids    = [aws_security_group.database[0].id]
  publicly_accessible       = false
  backup_retention_period   = 7
  copy_tags_to_snapshot     = true
  deletion_protection       = !var.force_destroy
  skip_final_snapshot       = var.force_destroy
  final_snapshot_identifier = var.force_destroy ? null : "${var.name}-last"
}

locals {
  database_host = var.create_database ? aws_db_instance.this[0].address : var.database_host
}
