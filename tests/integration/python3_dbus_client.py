# SPDX-License-Identifier: GPL-2.0-only
"""Every property and every signal of mcelog, by Debian's python3-dbus; each a line of JSON.

Not part of the tests' environment: the system's Python runs it.
"""

import ctypes
import json

import dbus
import dbus.mainloop.glib

TYPES = {dbus.String: "s", dbus.Int32: "i", dbus.UInt32: "u", dbus.UInt64: "t"}
PROPERTIES = "org.freedesktop.DBus.Properties"


def kind(value):
    if isinstance(value, dbus.Dictionary):
        return f"a{{{value.signature}}}"
    return TYPES.get(type(value)) or f"a{value.signature}"


def heard(*values, path, member):
    print(json.dumps(["signal", path, member, *values]), flush=True)


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
bus.add_signal_receiver(heard, bus_name="org.mcelog", path_keyword="path", member_keyword="member")

manager = bus.get_object("org.mcelog", "/org/mcelog")
objects = manager.GetManagedObjects(dbus_interface="org.freedesktop.DBus.ObjectManager")
for path, interfaces in {"/org/mcelog": ["org.mcelog.Manager"], **objects}.items():
    proxy = bus.get_object("org.mcelog", path)
    for interface in interfaces:
        for name in sorted(proxy.GetAll(interface, dbus_interface=PROPERTIES)):
            value = proxy.Get(interface, name, dbus_interface=PROPERTIES)
            print(json.dumps(["property", path, interface, name, kind(value), value]), flush=True)

glib = ctypes.CDLL("libglib-2.0.so.0")  # which is there wherever python3-dbus is; python3-gi need not be
glib.g_main_context_iteration.argtypes = [ctypes.c_void_p, ctypes.c_int]
print(json.dumps(["listening"]), flush=True)
while True:
    glib.g_main_context_iteration(None, True)
