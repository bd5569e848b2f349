# What infra/compose.yaml runs, on ECS, but for the model server: its state is SQLite, which wants a disk of its own
# (a machine with a GPU), or a provider takes its place.
locals {
  domain      = aws_service_discovery_private_dns_namespace.this.name
  ports       = { prefect = 4200, mlflow = 5000, shop = 8765, webhook = 8767 }
  prefect_api = "http://prefect.${local.domain}:4200/api"
  database    = { PGHOST = local.database_host, PGPORT = "5432", PGSSLMODE = "require" }
  secret_arns = merge(
    { for name, secret in aws_secretsmanager_secret.this : name => secret.arn },
    { database = one([for made in aws_db_instance.this : made.master_user_secret[0].secret_arn]) }
  )

  services = {
    prefect = {
      command = ["python", "-m", "prefect", "server", "start", "--host", "0.0.0.0", "--port", "4200"]
      environment = merge(local.database, {
        PREFECT_SERVER_DATABASE_CONNECTION_URL = "postgresql+asyncpg://prefect@${coalesce(local.database_host, "unset")}:5432/prefect"
        PREFECT_SERVER_UI_API_URL              = local.prefect_api
        PREFECT_SERVER_UI_STATIC_DIRECTORY     = "/tmp/ui"
        PREFECT_SERVER_ANALYTICS_ENABLED       = "false"
        # A run that waits its turn behind a retraining is not late.
        PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS = "1800"
        PREFECT_HOME                                    = "/tmp/prefect"
        ZAVA_HEALTH_URL                                 = "http://127.0.0.1:4200/api/health"
      })
      secrets = { PGPASSWORD = "prefect-db", PREFECT_SERVER_API_AUTH_STRING = "prefect-auth", PREFECT_API_AUTH_STRING = "prefect-auth" }
    }
    mlflow = {
      command = [
        "python", "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "0.0.0.0", "--port", "5000",
        "--workers", "2", "--allowed-hosts", "mlflow.${local.domain}:5000,127.0.0.1:5000",
        "--artifacts-destination", "s3://${aws_s3_bucket.this.id}/mlflow"
      ]
      environment = merge(local.database, {
        MLFLOW_BACKEND_STORE_URI           = "postgresql+psycopg://mlflow@/mlflow"
        MLFLOW_AUTH_CONFIG_PATH            = "/app/infra/mlflow-auth.ini"
        MLFLOW_AUTH_ADMIN_USERNAME         = "zava"
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION = "false"
        MLFLOW_DISABLE_TELEMETRY           = "true"
        AWS_DEFAULT_REGION                 = var.region
        ZAVA_HEALTH_URL                    = "http://127.0.0.1:5000/health"
      })
      secrets = { PGPASSWORD = "mlflow-db", MLFLOW_AUTH_ADMIN_PASSWORD = "mlflow-password", MLFLOW_FLASK_SERVER_SECRET_KEY = "mlflow-secret-key" }
    }
    shop = {
      command = [
        "python", "-m", "zava_mcp", "--transport", "http", "--host", "0.0.0.0", "--port", "8765",
        "--allowed-host", "shop.${local.domain}", "--database", "postgresql+psycopg://shop@/shop"
      ]
      environment = merge(local.database, { ZAVA_HEALTH_URL = "http://127.0.0.1:8765/healthz" })
      secrets     = { PGPASSWORD = "shop-db", ZAVA_SHOP_KEY = "shop-key" }
    }
    worker = {
      command = ["python", "-m", "prefect", "worker", "start", "--pool", var.name, "--type", "ecs", "--with-healthcheck"]
      environment = {
        PREFECT_API_URL               = local.prefect_api
        PREFECT_HOME                  = "/tmp/prefect"
        PREFECT_WORKER_WEBSERVER_HOST = "127.0.0.1"
        PREFECT_WORKER_WEBSERVER_PORT = "8768"
        AWS_DEFAULT_REGION            = var.region
        ZAVA_HEALTH_URL               = "http://127.0.0.1:8768/health"
      }
      secrets = { PREFECT_API_AUTH_STRING = "prefect-auth" }
    }
    # Begins to answer once `zava deploy` has left its profile in the workspace.
    webhook = {
      command = ["python", "-m", "flows.cli", "webhook", "--profile", "/data/zava/deployed.yaml", "--host", "0.0.0.0"]
      environment = {
        PREFECT_API_URL = local.prefect_api
        PREFECT_HOME    = "/tmp/prefect"
        ZAVA_HEALTH_URL = "http://127.0.0.1:8767/healthz"
      }
      secrets = { PREFECT_API_AUTH_STRING = "prefect-auth", ZAVA_HOOK_RETRAIN_SECRET = "hook-retrain-secret", ZAVA_HOOK_TRANSCRIPT_SECRET = "hook-transcript-secret" }
    }
  }
  # What the worker starts a run as, and what `zava deploy` runs in.
  run = {
    command = ["zava", "--help"]
    environment = {
      PREFECT_API_URL          = local.prefect_api
      PREFECT_HOME             = "/tmp/prefect"
      MLFLOW_TRACKING_USERNAME = "zava"
      MLFLOW_DISABLE_TELEMETRY = "true"
      AWS_DEFAULT_REGION       = var.region
    }
    secrets = { PREFECT_API_AUTH_STRING = "prefect-auth", MLFLOW_TRACKING_PASSWORD = "mlflow-password", ZAVA_API_KEY = "provider-key" }
  }
  # Run once, after the secrets have values: gives each service its role and its database.
  roles = {
    command     = ["sh", "-c", file("${path.module}/../postgres-roles.sh")]
    environment = merge(local.database, { PGUSER = "postgres" })
    secrets     = { PGPASSWORD = "database", PREFECT_DB_PASSWORD = "prefect-db", MLFLOW_DB_PASSWORD = "mlflow-db", SHOP_DB_PASSWORD = "shop-db" }
  }
  tasks         = merge(local.services, { run = local.run }, var.create_database ? { roles = local.roles } : {})
  has_workspace = toset(["run", "webhook"])
  # RDS keeps its administrator's password as a field of JSON.
  json_field = { database = ":password::" }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}"
  retention_in_days = 90
}

resource "aws_ecs_cluster" "this" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "this" {
  for_each                 = local.tasks
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.key == "run" ? 4096 : 1024
  memory                   = each.key == "run" ? 16384 : 4096
  execution_role_arn       = aws_iam_role.start[each.key].arn
  task_role_arn            = aws_iam_role.own[each.key].arn

  container_definitions = jsonencode([{
    name        = each.key
    image       = each.key == "roles" ? "public.ecr.aws/docker/library/postgres:17-bookworm" : var.image
    essential   = true
    command     = each.value.command
    environment = [for name, value in each.value.environment : { name = name, value = value }]
    secrets = [
      for name, secret in each.value.secrets :
      { name = name, valueFrom = "${local.secret_arns[secret]}${lookup(local.json_field, secret, "")}" }
    ]
    portMappings = [for name, port in local.ports : { containerPort = port, hostPort = port, protocol = "tcp" } if name == each.key]
    mountPoints  = [for name in local.has_workspace : { sourceVolume = "workspace", containerPath = "/data", readOnly = false } if name == each.key]
    healthCheck = contains(keys(local.services), each.key) ? {
      command = ["CMD", "python", "-m", "infra.services.probe"], interval = 10, timeout = 10, retries = 6, startPeriod = 180
    } : null
    logConfiguration = {
      logDriver = "awslogs"
      options   = { awslogs-group = aws_cloudwatch_log_group.this.name, awslogs-region = var.region, awslogs-stream-prefix = each.key }
    }
  }])

  dynamic "volume" {
    for_each = contains(local.has_workspace, each.key) ? [1] : []
    content {
      name = "workspace"
      efs_volume_configuration {
        file_system_id     = aws_efs_file_system.workspace.id
        transit_encryption = "ENABLED"
        authorization_config {
          access_point_id = aws_efs_access_point.workspace.id
        }
      }
    }
  }
}

resource "aws_ecs_service" "this" {
  for_each        = local.services
  name            = each.key
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.this[each.key].arn
  desired_count   = 1
  launch_type     = "FARGATE"
  propagate_tags  = "SERVICE"

  network_configuration {
    subnets         = var.subnet_ids
    security_groups = [aws_security_group.services.id]
  }
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  dynamic "service_registries" {
    for_each = contains(keys(local.ports), each.key) ? [1] : []
    content {
      registry_arn = aws_service_discovery_service.this[each.key].arn
    }
  }
  depends_on = [aws_iam_role_policy.start, aws_efs_mount_target.workspace]
  lifecycle {
    # AWS's to decide, and what it decides without being asked has changed once.
    ignore_changes = [availability_zone_rebalancing]
    precondition {
      condition     = var.create_database != (var.database_host != null)
      error_message = "Either create_database, or database_host of one that is there."
    }
  }
}
