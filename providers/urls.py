"""Addresses of the receipt endpoints: `/receipts/<provider's identifier>/`, and those of email and letters."""

from django.urls import path

from providers import views

urlpatterns = [
    path("letters/", views.receive_letters, name="letter-receipts"),
    path("email/<slug:esp>/", views.receive_email, name="email-receipts"),
    path("<slug:identifier>/", views.receive, name="receipts"),
]
