-- What stands behind this, up to \endif, only a superuser can do.
SELECT rolsuper AS super FROM pg_roles WHERE rolname = current_user \gset
\if :super
