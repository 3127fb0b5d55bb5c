# Installation to DESTDIR and prefix, and the Debian packages.

# A relative path would mean a folder of the source tree, and what is installed names these paths: blanks and
# signs of the shell or of sed would not survive.
INSTALL_PATHS := DESTDIR prefix sysconfdir bindir libdir includedir datadir hubdir unitdir pythondir
comma := ,
UNFIT := ' " ` & | ; \\ < > ( ) * ? [ ] % ! $(comma)
unfit = $(filter-out /%,$1)$(word 2,$1)$(strip $(foreach c,$(UNFIT),$(findstring $c,$1)))
ifneq ($(filter install uninstall,$(MAKECMDGOALS)),)
  $(foreach v,$(INSTALL_PATHS),$(if $(call unfit,$($v)),$(error $v=$($v) is no absolute path of plain \
    characters; write one that begins with /, without blanks and quotes, as in $v=/usr/local)))
endif

# Templates name the paths of a package (/usr/bin ...); here they become the real ones.
INSTALL := install -D
EXEC_PATHS := $(if $(filter-out /usr /usr/%,$(prefix)),s|^ExecPaths=/usr$$|& $(prefix)|)
# By the shell's number: several may install from one BUILD at once.
REAL_PATHS := s,/usr/bin/,$(bindir)/,g; s,/usr/libexec/observ,$(hubdir),g; s,/usr/share/,$(datadir)/,g; \
              $(EXEC_PATHS)
put = sed -e '$(REAL_PATHS)' $(1) > $(BUILD)/put.$$$$ && \
      $(INSTALL) -m 644 $(BUILD)/put.$$$$ $(DESTDIR)$(2) && rm $(BUILD)/put.$$$$

UNITS := fleet-hub.socket fleet-hub.service fleet-watch.service observ-maintain.service observ-maintain.timer

PAGES := \
  logcore/logcore.1 \
  logcore/logcore.3 \
  obs_agent/obs_agent.yml.5 \
  docs/observ-schema.7 \
  obs_agent/obs_agent.8 \
  fleet_hub/fleet_hub.8 \
  fleet_hub/fleet_hub_admin.8 \
  fleet_watch/fleet_watch.8

.PHONY: install
install: ## to DESTDIR and prefix; the units to unitdir, obs-agent.service as obs-agent@.service
install: all
	$(Q)$(INSTALL) -m 755 -t $(DESTDIR)$(bindir) $(BUILD)/obs_agent/obs_agent $(BUILD)/logcore/logcore \
	  $(BUILD)/fleet_hub/fleet_hub_admin $(BUILD)/fleet_watch/fleet_watch
	$(Q)$(INSTALL) -m 755 -t $(DESTDIR)$(hubdir) $(BUILD)/fleet_hub/fleet_hub
	$(Q)$(call put,templates/obs-agent.service,$(unitdir)/obs-agent@.service)
	$(Q)$(foreach u,$(UNITS),$(call put,templates/$u,$(unitdir)/$u) && ):
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(prefix)/lib/sysusers.d templates/sysusers.d/*.conf
	$(Q)for f in hub.conf watch.conf; do [ -e $(DESTDIR)$(sysconfdir)/observ/$$f ] || \
	  $(INSTALL) -m 600 -t $(DESTDIR)$(sysconfdir)/observ templates/$$f || exit 1; done
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(datadir)/observ schema.sql templates/citus.sql \
	  templates/observ-harden.sql templates/observ-maintain.cron templates/nginx-observ.conf \
	  templates/obs_agent.schema.json
	$(Q)$(INSTALL) -m 755 -t $(DESTDIR)$(datadir)/observ templates/install.sh templates/deploy-hook.sh
	$(Q)$(INSTALL) -m 644 templates/obs_agent.bash \
	  $(DESTDIR)$(datadir)/bash-completion/completions/obs_agent
	$(Q)$(INSTALL) -m 644 templates/tmpfiles.d/obs-agent.conf \
	  $(DESTDIR)$(prefix)/lib/tmpfiles.d/obs-agent.conf
	$(Q)$(call put,templates/lighttpd-observ.conf,$(datadir)/observ/lighttpd-observ.conf)
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(datadir)/observ/drop-ins templates/drop-ins/*.conf
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(datadir)/doc/observ README.md NEWS.md LICENSE
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(datadir)/doc/observ/docs $(wildcard docs/*.md docs/*.png)
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(libdir) $(BUILD)/liblogcore.a
	$(Q)$(INSTALL) -m 755 -t $(DESTDIR)$(libdir) $(BUILD)/$(SONAME)
	$(Q)ln -sf $(SONAME) $(DESTDIR)$(libdir)/liblogcore.so
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(includedir) logcore/logcore.h logcore/logcore.hpp
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(pythondir) logcore/logcore.py
	$(Q)sed -e 's,@prefix@,$(prefix),; s,@libdir@,$(libdir),; s,@includedir@,$(includedir),' \
	  -e 's,@version@,$(VERSION),' logcore/logcore.pc.in > $(BUILD)/put.$$$$ && \
	  $(INSTALL) -m 644 $(BUILD)/put.$$$$ $(DESTDIR)$(libdir)/pkgconfig/logcore.pc && rm $(BUILD)/put.$$$$
	$(Q)$(foreach f,$(PAGES),\
	  $(call put,$f,$(datadir)/man/man$(lastword $(subst ., ,$f))/$(notdir $f)) && ):
	$(Q)for f in $$(sed -n 's/^\.Nm \(logcore_[a-z_]*\).*/\1/p' logcore/logcore.3); do \
	  ln -sf logcore.3 $(DESTDIR)$(datadir)/man/man3/$$f.3; done
	$(Q)[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

# By what install would put there, so that the two can't differ.
UNINSTALL := $(abspath $(BUILD))/uninstall
.PHONY: uninstall
uninstall: ## remove what install put there; configuration, state and the database stay
	$(Q)rm -rf $(UNINSTALL) && $(MAKE) --no-print-directory -s DESTDIR=$(UNINSTALL) install
	$(Q)cd $(UNINSTALL) && \
	  find . ! -type d ! -path '.$(sysconfdir)/observ/*' -printf '$(DESTDIR)/%P\0' | xargs -0 rm -f
	$(Q)cd $(UNINSTALL) && \
	  find . -depth -type d \( -name observ -o -path '*/observ/*' \) -printf '$(DESTDIR)/%P\0' | \
	  xargs -0 -r rmdir --ignore-fail-on-non-empty 2>/dev/null || :
	$(Q)rm -rf $(UNINSTALL)
	$(Q)[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

# `make deb DEB_BUILD_OPTIONS=` also makes the packages of debugging symbols.
DEB_BUILD_OPTIONS ?= noautodbgsym
.PHONY: deb
deb: ## Debian packages, into BUILD/deb
	$(Q)scripts/deps build deb
	$(Q)rm -rf $(BUILD)/deb && mkdir -p $(BUILD)/deb/observ
	$(Q){ git ls-files -z 2>/dev/null | grep -z . || \
	  find . \( -path ./build -o -path ./demo-data -o -path ./.git \) -prune -o -type f -print0; } | \
	  tar c --null -T - | tar x -C $(BUILD)/deb/observ
	@echo "make deb: building the packages, which takes a minute or two; the log is $(BUILD)/deb/log"
	$(Q)cd $(BUILD)/deb/observ && \
	  env -u MAKEFLAGS -u MAKELEVEL DEB_BUILD_OPTIONS='$(DEB_BUILD_OPTIONS)' \
	    dpkg-buildpackage -jauto -us -uc -b > ../log 2>&1 || \
	  { tail -n 20 ../log; exit 1; }
	$(Q)rm -rf $(BUILD)/deb/observ && ls $(BUILD)/deb/*.deb
	@echo "make deb: next, as root:" \
	  "apt-get install postgresql $(if $(filter /%,$(BUILD)),,./)$(BUILD)/deb/*.deb"
