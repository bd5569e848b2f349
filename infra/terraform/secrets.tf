# Only their names are here: whoever sets up the services puts the values in, and no state file ever holds one.
#   aws secretsmanager put-secret-value --secret-id NAME/SECRET --secret-string "$(openssl rand -hex 24)"
locals {
  secrets = toset([
    "prefect-db", "mlflow-db", "shop-db",           # passwords of the database's roles
    "prefect-auth",                                 # NAME:PASSWORD
    "mlflow-password", "mlflow-secret-key",         # of the user `zava`, 12 characters or more; and what signs forms
    "shop-key", "provider-key",                     # bearer keys of the shop and of the model provider
    "hook-retrain-secret", "hook-transcript-secret" # whsec_ and base64
  ])
}

resource "aws_secretsmanager_secret" "this" {
  for_each                = local.secrets
  name                    = "${var.name}/${each.key}"
  recovery_window_in_days = var.secret_recovery_days
}
