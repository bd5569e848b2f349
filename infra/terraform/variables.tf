variable "name" {
  description = "Prefix of everything that is made, and the namespace of its addresses: http://prefect.NAME.internal:4200."
  type        = string
  default     = "zava"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "name is 2 to 20 small letters, digits and dashes."
  }
}

variable "region" {
  description = "Where all of it is made."
  type        = string
}

variable "image" {
  description = "The image of infra/Dockerfile in a registry, by digest or version."
  type        = string
}

variable "vpc_id" {
  description = "The network that all of it is in."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets with a way out (to the registry of the image and to AWS), in two zones or more."
  type        = list(string)
}

variable "client_security_group_ids" {
  description = "Who may reach the addresses: of a bastion, a VPN, or a load balancer with TLS. Nobody else does."
  type        = list(string)
  default     = []
}

variable "bucket" {
  description = "Name of the bucket of datasets, reports and MLflow's files; left out: NAME-ACCOUNT."
  type        = string
  default     = null
}

variable "keep_days" {
  description = "How long the bucket keeps what was overwritten or deleted."
  type        = number
  default     = 30
}

variable "force_destroy" {
  description = "Let `terraform destroy` remove what the bucket holds and the database without a last snapshot."
  type        = bool
  default     = false
}

variable "secret_recovery_days" {
  description = "How long a removed secret can be had back: 0, or 7 to 30."
  type        = number
  default     = 7
}

variable "create_database" {
  description = "Make a PostgreSQL on RDS; otherwise database_host names one."
  type        = bool
  default     = false
}

variable "database_host" {
  description = "Host of a PostgreSQL with the roles and databases of infra/postgres-roles.sh, where none is made."
  type        = string
  default     = null
}

variable "database_class" {
  description = "Of the database that is made."
  type        = string
  default     = "db.t4g.small"
}
